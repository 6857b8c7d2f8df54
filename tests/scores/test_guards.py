"""Copies, collapse and cost: what a good score may hide."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import mannwhitneyu

from metasearch.rng import Stream
from metasearch.scores.copying import Copying, mann_whitney
from metasearch.scores.cost import AdaptationCost
from metasearch.scores.diversity import Diversity, spread
from tests.scores.fakes import real, subject


def drawn(place, *shape):
    return torch.randn(*shape, generator=Stream(13).at(place).torch(), dtype=torch.float64)


def posed(given, images):
    return given.posing({"x": images.flatten(0, 1)})


@pytest.mark.parametrize("digits", [3, 0], ids=["apart", "tied"])
def test_the_z_is_scipys(digits):
    x, y = (drawn("x", 4, 30) * 3).round(decimals=digits), (drawn("y", 4, 20) * 3 + 1)
    y = y.round(decimals=digits)
    for mine, a, b in zip(mann_whitney(x, y), x, y, strict=True):
        found = mannwhitneyu(a, b, method="asymptotic", use_continuity=False)
        assert 2 * 0.5 * math.erfc(abs(float(mine)) / math.sqrt(2)) == pytest.approx(found.pvalue)
        assert (float(mine) > 0) == (found.statistic > 300)


def test_numbers_that_are_all_equal_say_nothing():
    assert mann_whitney(torch.ones(2, 5), torch.ones(2, 4)).tolist() == [0, 0]


def test_the_mean_over_tasks_is_stouffers_z():
    given = subject(9)
    x, y = (
        torch.cdist(side, given.support_features).amin(2)
        for side in (given.sample_features, given.query_features)
    )
    z = mann_whitney(x, y)
    assert float(Copying()(given).mean()) == pytest.approx(float(z.sum() / math.sqrt(9)))


def test_for_real_images_the_z_is_a_standard_normal():
    values = torch.stack([
        Copying()(posed(subject(12), real(12, 12, "fresh", k))).mean() for k in range(60)
    ])  # fmt: skip
    # The query stays the same, so a common part of the z does; draws around it spread by less.
    assert abs(float(values.mean())) < 2.5
    assert 0.4 < float(values.std()) < 1.3


def test_copies_of_the_support_are_flagged_and_so_are_near_copies():
    given = subject(12)
    support = given.episodes.support["x"].unflatten(0, (12, -1))
    copies = support.repeat(1, 3, 1, 1, 1)
    near = copies + 0.05 * drawn("near", *copies.shape)
    assert float(Copying()(posed(given, copies)).mean()) < -8
    assert float(Copying()(posed(given, near)).mean()) < -8
    assert float(Copying()(posed(given, real(12, 15, "fresh"))).mean()) > -3
    assert float(Copying()(posed(given, real(12, 15, "fresh") + 1)).mean()) > 3


def test_a_share_of_copies_shows():
    given = subject(24, query=12)
    copies = given.episodes.support["x"].unflatten(0, (24, -1)).repeat(1, 4, 1, 1, 1)
    fresh = real(24, 20, "fresh")
    found = [
        float(Copying()(posed(given, torch.cat([copies[:, :k], fresh[:, k:]], 1))).mean())
        for k in (0, 5, 10, 20)
    ]
    assert found == sorted(found, reverse=True)
    assert found[2] < -3


def test_diversity_is_the_ratio_of_spreads_and_one_for_real_images():
    given = subject(30, query=12)
    fresh = real(30, 24, "fresh")
    assert float(Diversity()(posed(given, fresh)).mean()) == pytest.approx(1, abs=0.05)
    middle = fresh.mean(1, keepdim=True)
    narrow = middle + 0.4 * (fresh - middle)
    found = float(Diversity()(posed(given, narrow)).mean())
    ratio = spread(0.25 * narrow.flatten(2)).mean() / spread(given.query_features).mean()
    assert found == pytest.approx(float(ratio))
    assert found == pytest.approx(0.4, abs=0.03)
    same = fresh[:, :1].expand(30, 24, 1, 4, 4)
    assert float(Diversity()(posed(given, same)).mean()) == pytest.approx(0, abs=1e-9)


def test_diversity_sees_each_class_by_itself():
    """Classes that differ from each other are no diversity."""
    given = subject(8)
    same = real(8, 1, "one").expand(8, 12, 1, 4, 4)
    assert float(Diversity()(posed(given, same)).mean()) == pytest.approx(0, abs=1e-9)


def test_the_cost_of_a_task_is_its_share_of_the_gradients():
    assert AdaptationCost()(subject(4)).tolist() == [12.0] * 4
