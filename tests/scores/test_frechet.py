"""The Fréchet distance against closed forms, its definition, and a second implementation."""

from __future__ import annotations

import pytest
import torch

from metasearch.rng import Stream
from metasearch.scores.frechet import Frechet, frechet_distance, moments
from metasearch.scores.pooling import jackknife, relative
from tests.scores.fakes import Plain, rearranged, subject


def drawn(place, *shape):
    return torch.randn(*shape, generator=Stream(11).at(place).torch(), dtype=torch.float64)


def some_covariance(place, d=5):
    root = drawn(place, d, 2 * d)
    return root @ root.T / d


def test_gaussians_with_diagonal_covariances_have_the_closed_form():
    mean, other = torch.tensor([0.0, 1.0]).double(), torch.tensor([2.0, 1.0]).double()
    cov, wide = torch.diag(torch.tensor([1.0, 4.0])).double(), torch.diag(torch.tensor([9.0, 4.0]))
    assert float(frechet_distance(mean, cov, other, wide.double())) == pytest.approx(
        2**2 + (3 - 1) ** 2
    )


def test_it_is_symmetric_zero_to_itself_and_real_where_covariances_do_not_commute():
    mean, (a, b) = torch.zeros(5).double(), (some_covariance("a"), some_covariance("b"))
    one, two = frechet_distance(mean, a, mean, b), frechet_distance(mean, b, mean, a)
    assert float(one) == pytest.approx(float(two)) and float(one) > 0.1
    assert float(frechet_distance(mean, a, mean, a)) == pytest.approx(0, abs=1e-12)
    by_eigenvalues = torch.linalg.eigvals(a @ b).sqrt().real.sum()
    assert float(one) == pytest.approx(float(a.trace() + b.trace() - 2 * by_eigenvalues))


def test_a_covariance_without_full_rank_is_no_obstacle():
    flat = torch.zeros(4, 4).double()
    flat[0, 0] = 4.0
    point, mean = torch.zeros(4, 4).double(), torch.zeros(4).double()
    assert float(frechet_distance(mean, flat, mean, point)) == pytest.approx(4.0)


def test_moments_are_those_of_all_tasks_and_of_all_but_one():
    x = drawn("x", 4, 6, 3)
    mean, cov = moments(x)
    for row, left in enumerate([[0, 1, 2, 3], [1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]):
        heap = x[left].flatten(0, 1)
        torch.testing.assert_close(mean[row], heap.mean(0))
        torch.testing.assert_close(cov[row], heap.T.cov())
    assert moments(x[:1])[0].shape == (1, 3)


def test_values_are_pseudo_values_of_the_distance_of_all_tasks():
    given = subject(6)
    values = Frechet()(given)
    samples, query, _ = relative(Frechet(), given)

    def whole(left):
        heaps = [side[left].flatten(0, 1) for side in (samples, query)]
        (m, c), (n, d) = ((x.mean(0), x.T.cov()) for x in heaps)
        return frechet_distance(m, c, n, d)

    everything = list(range(6))
    for task in everything:
        without = whole([k for k in everything if k != task])
        assert float(values[task]) == pytest.approx(float(6 * whole(everything) - 5 * without))


def test_the_jackknife_of_a_mean_gives_back_the_numbers():
    x = drawn("numbers", 7)
    without = torch.stack([torch.cat([x[:k], x[k + 1 :]]).mean() for k in range(7)])
    torch.testing.assert_close(jackknife(x.mean(), without), x)
    assert jackknife(x[0], x[:1] * torch.nan).tolist() == [float(x[0])]


def test_leaving_out_tasks_takes_away_most_of_the_bias():
    """Few images of one distribution: the plain distance is far above 0, the pseudo-values not."""
    plain, told = [], []
    for k in range(20):
        x, y = drawn(f"p{k}", 24, 10, 8), drawn(f"q{k}", 24, 10, 8)
        found = frechet_distance(*moments(x), *moments(y))
        plain.append(found[0])
        told.append(jackknife(found[0], found[1:]).mean())
    bias, left = float(torch.stack(plain).mean()), float(torch.stack(told).mean())
    assert bias > 0.05
    assert abs(left) < 0.15 * bias


def test_the_unit_is_the_spread_of_a_class_and_mixing_classes_up_is_seen():
    given = subject(12, n_samples=40, features=Plain(scale=0.5))
    assert abs(float(Frechet()(given).mean())) < 0.2
    # Images of other tasks: in one heap without regard to the support they would be the same ones.
    other = rearranged(given, [*range(1, 12), 0]).samples
    mixed = given.posing(other)
    assert float(Frechet()(mixed).mean()) > 3 * abs(float(Frechet()(given).mean())) + 0.2


def test_scaling_features_and_their_ruler_together_changes_nothing():
    matrix = 3 * torch.eye(16, dtype=torch.float64) / 4
    one, two = subject(5), subject(5, features=Plain(scale=3.0, matrix=matrix))
    torch.testing.assert_close(Frechet()(one), Frechet()(two))


def test_a_single_task_gets_the_plain_distance():
    given = subject(1)
    (x, y, _) = relative(Frechet(), given)
    found = frechet_distance(x[0].mean(0), x[0].T.cov(), y[0].mean(0), y[0].T.cov())
    assert float(Frechet()(given)[0]) == pytest.approx(float(found))


def test_torchmetrics_gives_the_same_distance():
    from torchmetrics.image import fid

    x, y = drawn("x", 3, 40, 8), 0.5 + 2 * drawn("y", 3, 40, 8)
    (mean, cov), (other, wide) = moments(x), moments(y)
    mine = frechet_distance(mean, cov, other, wide)[0]
    theirs = fid._compute_fid(mean[0], cov[0], other[0], wide[0])
    assert float(mine) == pytest.approx(float(theirs), rel=1e-6)
