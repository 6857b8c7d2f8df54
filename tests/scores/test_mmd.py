"""MMD against its definition, against Gaussians with known values, and as an unbiased estimate."""

from __future__ import annotations

import math

import pytest
import torch

from metasearch.errors import DataError
from metasearch.rng import Stream
from metasearch.scores.mmd import MMD, WIDTHS, kernel, mmd_squared
from tests.scores.fakes import real, subject, true_means


def gaussian(tasks, n, d, mean=0.0, deviation=1.0, place="x"):
    make = Stream(5).at(place, tasks, n).torch()
    return mean + deviation * torch.randn(tasks, n, d, generator=make, dtype=torch.float64)


def slow_kernel(a, b, scale):
    total = (float(a @ b) + 1) ** 3 / 8
    for width in (0.5, 1.0, 2.0):
        total += math.exp(-float((a - b) @ (a - b)) / (2 * (width * scale) ** 2))
    return total / 4


def slow_mmd(x, y, scale):
    n, m = len(x), len(y)
    xx = sum(slow_kernel(x[i], x[j], scale) for i in range(n) for j in range(n) if i != j)
    yy = sum(slow_kernel(y[i], y[j], scale) for i in range(m) for j in range(m) if i != j)
    xy = sum(slow_kernel(a, b, scale) for a in x for b in y)
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)


def test_it_is_the_double_loop_of_its_definition():
    x, y = gaussian(3, 6, 4, place="x"), gaussian(3, 5, 4, mean=0.3, place="y")
    fast = mmd_squared(x, y, 0.7)
    slow = [slow_mmd(a, b, 0.7) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(
        fast, torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


def expected_kernel(a, b, s, scale, d):
    """E k(x, y) for independent x ~ N(a, s^2 I), y ~ N(b, s^2 I), by the Gaussian integrals."""
    total = 0.0
    for width in WIDTHS:
        h = (width * scale) ** 2
        gap = float((a - b).square().sum())
        total += (h / (h + 2 * s**2)) ** (d / 2) * math.exp(-gap / (2 * (h + 2 * s**2)))
    ab, aa, bb = float(a @ b), float(a @ a), float(b @ b)
    second = ab**2 + s**2 * (aa + bb) + s**4 * d
    third = ab**3 + 3 * s**2 * ab * (aa + bb) + s**4 * (3 * d + 6) * ab
    return (total + (1 + 3 * ab + 3 * second + third) / 8) / 4


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.6])
def test_its_mean_is_the_known_value_for_two_gaussians(shift):
    d, s, scale = 6, 0.4, 0.9
    a, b = torch.zeros(d, dtype=torch.float64), torch.full((d,), shift, dtype=torch.float64)
    values = mmd_squared(
        gaussian(600, 12, d, 0.0, s, "x"), gaussian(600, 9, d, shift, s, "y"), scale
    )
    truth = (
        expected_kernel(a, a, s, scale, d)
        + expected_kernel(b, b, s, scale, d)
        - 2 * expected_kernel(a, b, s, scale, d)
    )
    error = float(values.std()) / math.sqrt(len(values))
    assert abs(float(values.mean()) - truth) < 3.5 * error
    assert truth > 20 * error if shift > 0.5 else True


def test_equal_distributions_give_zero_on_average_and_negative_values_about_half_the_time():
    values = mmd_squared(gaussian(500, 10, 8, 0, 0.3, "x"), gaussian(500, 10, 8, 0, 0.3, "y"), 0.9)
    assert abs(float(values.mean())) < 3 * float(values.std()) / math.sqrt(500)
    assert 0.3 < float((values < 0).double().mean()) < 0.8


def test_a_real_image_has_kernel_one_with_itself_on_average():
    x = torch.nn.functional.normalize(gaussian(1, 50, 8), dim=2)
    diagonal = kernel(x, x, 0.9).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, torch.ones_like(diagonal))


def test_the_bandwidth_is_that_of_the_features_and_not_of_the_samples():
    near, far = subject(4), subject(4, means=true_means(4) + 0.8)
    for one in (near, far):
        x, y = one.sample_features, one.query_features
        assert torch.equal(MMD()(one), 100 * mmd_squared(x, y, one.features.scale))


def test_a_diverged_task_leaves_the_others_equal_to_the_last_bit():
    images = real(6, 10, "samples")
    broken = images.clone()
    broken[2, 3] = torch.nan
    whole, torn = (MMD()(subject(6).posing({"x": x.flatten(0, 1)})) for x in (images, broken))
    rest = [0, 1, 3, 4, 5]
    assert torn[2].isnan() and torch.equal(whole[rest], torn[rest])


def test_one_image_on_a_side_is_refused_in_words():
    with pytest.raises(DataError, match=r"'mmd': got 1 samples and 8 query .* at least 2"):
        MMD()(subject(3, n_samples=1))
    with pytest.raises(DataError, match="got 0 samples"):
        MMD()(subject(3).posing({"x": torch.empty(0, 1, 4, 4)}))
