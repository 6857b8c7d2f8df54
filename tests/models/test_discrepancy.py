"""MMD against sums written out, and the fixed space it is differentiated in."""

from __future__ import annotations

import itertools

import pytest
import torch

from metasearch.models.discrepancy import (
    WIDTHS,
    energy,
    fixed_features,
    image_mmd,
    mmd_squared,
    radial,
    squared_distances,
)
from metasearch.rng import Stream


def normal(*shape):
    return torch.randn(*shape, generator=Stream(0).at(*shape).torch(), dtype=torch.float64)


def pictures(n, c=1, side=16):
    return (
        torch.rand(n, c, side, side, generator=Stream(1).at(n).torch(), dtype=torch.float64) * 2 - 1
    )


def test_mmd_is_the_mean_over_pairs_of_different_rows():
    x, y = normal(2, 4, 3), normal(2, 5, 3) + 1

    def k(a, b):
        return torch.exp(-(a - b).square().sum() / 2)

    for task in range(2):
        inside = [
            sum(k(a, b) for a, b in itertools.permutations(side, 2)) / (len(side) * (len(side) - 1))
            for side in (x[task], y[task])
        ]
        between = sum(k(a, b) for a in x[task] for b in y[task]) / 20
        got = mmd_squared(x, y, lambda a, b: radial(a, b, 1.0, (1.0,)))[task]
        torch.testing.assert_close(got, inside[0] + inside[1] - 2 * between)


def test_mmd_has_no_bias():
    x = normal(4000, 5, 2)
    y = normal(4001, 5, 2)[1:]
    got = mmd_squared(x, y, lambda a, b: radial(a, b, 1.0))
    assert abs(float(got.mean())) < 3 * float(got.std()) / 4000**0.5
    assert (got < 0).double().mean() > 0.3


def test_the_kernel_is_the_mean_of_gaussians_of_several_widths():
    x, y, scale = normal(2, 3, 4), normal(2, 2, 4), torch.tensor([0.5, 2.0])
    d = torch.cdist(x, y)
    parts = [torch.exp(-(d**2) / (2 * (w * scale[:, None, None]) ** 2)) for w in WIDTHS]
    torch.testing.assert_close(radial(x, y, scale), sum(parts) / len(WIDTHS))
    assert (squared_distances(x, x).diagonal(dim1=1, dim2=2) < 1e-12).all()


def test_features_are_fixed_see_one_image_at_a_time_and_draw_nothing():
    before = torch.get_rng_state()
    for channels in (1, 3):
        x = pictures(4, channels)
        whole = fixed_features(x)
        torch.testing.assert_close(fixed_features(x[1:2]), whole[1:2])
        assert torch.equal(whole, fixed_features(x))
        assert fixed_features(x.float()).dtype == torch.float32
    assert torch.equal(before, torch.get_rng_state())


def test_the_distance_of_images_agrees_with_finite_differences():
    x, real = pictures(6), pictures(8)
    value = image_mmd(x.requires_grad_(), real, 2)
    assert value.shape == (2,)
    (slope,) = torch.autograd.grad(value.sum(), x)
    direction = normal(*x.shape)
    h = 1e-6
    ends = [float(image_mmd((x + s * h * direction).detach(), real, 2).sum()) for s in (1, -1)]
    got = float((slope * direction).sum())
    assert abs(got - (ends[0] - ends[1]) / (2 * h)) < 1e-6 * max(1.0, abs(got))


def test_descending_it_brings_images_to_the_real_ones():
    real = -torch.ones(6, 1, 16, 16)
    real[:, :, 4:8, 4:8] = 1
    real += 0.2 * torch.randn(real.shape, generator=Stream(2).torch())
    x = torch.zeros(6, 1, 16, 16, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.05)
    first = float(image_mmd(x.detach(), real, 1))
    for _ in range(150):
        optimizer.zero_grad()
        image_mmd(x, real, 1).sum().backward()
        optimizer.step()
    assert float(image_mmd(x.detach(), real, 1)) < 0.3 * first
    ink = x.detach().mean((0, 1))
    assert ink[4:8, 4:8].mean() > ink.mean() + 0.5


def test_the_energy_of_rows_is_half_the_energy_distance_and_a_constant():
    """Against all pairs of a few numbers: 2 E|x - y| - E|x - x'| - E|y - y'|."""
    x, y = (torch.tensor(v, dtype=torch.float64) for v in ([0.0, 1.0, 5.0], [2.0, 2.5]))

    def apart(a, b):
        return (a[:, None] - b[None]).abs().mean()

    distance = 2 * apart(x, y) - apart(x, x) - apart(y, y)
    # Every triple once, so that the mean over rows is the expectation.
    i, j, k = (m.flatten() for m in torch.meshgrid(*map(torch.arange, (3, 3, 2)), indexing="ij"))
    rows = energy(torch.stack([x[i, None], x[j, None]], 1), y[k, None])
    assert float(rows.mean()) == pytest.approx(float(distance + apart(y, y)) / 2, abs=1e-3)


def test_drawings_that_vary_like_the_real_ones_have_less_energy_than_their_mean():
    make = Stream(0).torch()
    real, same = torch.randn(4000, 6, generator=make), torch.randn(4000, 2, 6, generator=make)
    assert energy(same, real).mean() < energy(torch.zeros_like(same), real).mean()


def test_more_drawings_say_the_same_with_less_noise():
    make = Stream(0).torch()
    real, drawn = torch.randn(4000, 6, generator=make), torch.randn(4000, 8, 6, generator=make)
    few, many = energy(drawn[:, :2], real), energy(drawn, real)
    assert float(many.mean()) == pytest.approx(float(few.mean()), abs=0.01)
    assert many.std() < 0.9 * few.std()


def test_the_energy_is_that_of_every_drawing_and_of_every_pair():
    x, y = torch.tensor([[[0.0], [1.0], [5.0]]]), torch.tensor([[2.0]])
    assert float(energy(x, y)) == pytest.approx((2 + 1 + 3) / 3 - (1 + 5 + 4) / 3 / 2, abs=1e-3)
