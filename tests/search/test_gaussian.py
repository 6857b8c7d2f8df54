"""The Gaussian process against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from metasearch.rng import Stream
from metasearch.search.gaussian import Belief, Kernel, averaged, hope

WORDS = np.array([True, False, False])


def places(name, count):
    rng = Stream(0).at(name).numpy()
    return np.column_stack([rng.integers(0, 3, count), rng.random((count, 2))]).astype(float)


def effect(places):
    """Of one draw alone, and of two together."""
    return np.sin(4 * places[:, 1]) + (places[:, 0] == 1) * places[:, 2]


def scores(places):
    return (effect(places) - effect(places).mean()) / effect(places).std()


def belief_of(told):
    return Belief(Kernel(WORDS), told, scores(told))


def likeliest(told):
    (process,) = belief_of(told).processes(1, Stream(0).numpy())
    return process


@pytest.fixture(scope="module")
def belief():
    return belief_of(places("told", 40))


@pytest.fixture(scope="module")
def process():
    return likeliest(places("told", 40))


def test_the_slope_of_the_kernel_is_that_of_small_differences():
    kernel, rng = Kernel(WORDS), Stream(0).at("slope").numpy()
    settings = kernel.prior[0] + 0.3 * rng.normal(size=10)
    gaps = kernel.gaps(places("a", 6), places("b", 5))
    weights = rng.normal(size=(6, 5))
    steps = 1e-6 * np.eye(10)
    found = [(weights * (kernel(settings + s, gaps) - kernel(settings - s, gaps))).sum() / 2e-6
             for s in steps]  # fmt: skip
    np.testing.assert_allclose(kernel.slope(settings, gaps, weights), found, atol=1e-6)


def test_the_slope_of_the_loss_is_that_of_small_differences_and_more_than_at_the_likeliest(belief):
    rng = Stream(0).at("loss").numpy()
    row = belief.likeliest + 0.3 * rng.normal(size=11)
    found = [(belief.loss(row + s)[0] - belief.loss(row - s)[0]) / 2e-4 for s in 1e-4 * np.eye(11)]
    np.testing.assert_allclose(belief.loss(row)[1], found, rtol=1e-3, atol=1e-3)
    assert belief.loss(row)[0] > belief.loss(belief.likeliest)[0]


def test_the_precision_is_how_the_loss_bends_at_the_likeliest_and_never_less_than_the_prior(belief):
    row = belief.likeliest
    precision, steps = belief.precision(row), 0.02 * np.eye(11)
    around = [belief.loss(row + s)[0] + belief.loss(row - s)[0] for s in steps]
    bends = (np.array(around) - 2 * belief.loss(row)[0]) / 0.02**2
    np.testing.assert_allclose(np.diag(precision), bends, rtol=0.1, atol=0.1)
    prior = np.append(belief.kernel.prior[1], 1.5)
    assert np.linalg.eigvalsh(precision).min() > 0.999 / prior.max() ** 2


def test_settings_are_drawn_about_the_likeliest_as_surely_as_scores_tell(belief):
    rows = belief.drawn(4000, Stream(0).at("drawn").numpy()) - belief.likeliest
    far = np.einsum("ni,ij,nj->n", rows, belief.precision(belief.likeliest), rows)
    assert far.mean() == pytest.approx(11, rel=0.1)  # bounds cut a little off


def test_of_a_draw_that_was_always_alike_it_is_not_sure_that_it_makes_no_difference():
    told = places("told", 8)
    told[:, 2] = 0.5
    elsewhere = told[:1] + np.array([0.0, 0.0, 0.5])
    one, *others = Belief(Kernel(WORDS), told, scores(told)).processes(40, Stream(0).numpy())
    (alone,) = one.at(elsewhere, told[:0])[1]
    assert np.mean([process.at(elsewhere, told[:0])[1] for process in others]) > 1.2 * alone


def test_the_kernel_is_what_its_source_says():
    kernel, rng = Kernel(WORDS), Stream(0).at("kernel").numpy()
    settings = rng.normal(size=10)
    lengths, own, shares = np.exp(settings[:3]), np.exp(settings[3:6]), np.exp(settings[6:9])
    (a,), (b,) = places("a", 1), places("b", 1)
    apart = np.where(WORDS, a != b, np.abs(a - b))

    def matern(r):
        return (1 + math.sqrt(5) * r + 5 / 3 * r**2) * math.exp(-math.sqrt(5) * r)

    alone = sum(s * matern(r) for s, r in zip(shares, apart / own, strict=True))
    together = math.exp(settings[9]) * matern(math.hypot(*(apart / lengths)))
    assert kernel(settings, kernel.gaps(a[None], b[None])).item() == pytest.approx(alone + together)
    assert kernel.variance(settings) == pytest.approx(
        kernel(settings, kernel.gaps(a[None], a[None])).item()
    )


def test_what_was_told_is_expected_and_the_rest_as_surely_as_it_says(process):
    told, new = places("told", 40), places("new", 200)
    mean, deviation = process.at(told, told[:0])
    assert np.abs(mean - scores(told)).max() < 0.1
    assert deviation.max() < 0.1
    guessed, unsure = process.at(new, told[:0])
    assert np.corrcoef(guessed, effect(new))[0, 1] > 0.95
    off = np.abs(guessed - (effect(new) - effect(told).mean()) / effect(told).std())
    assert np.mean(off < 3 * unsure + 0.02) > 0.9


def test_what_was_asked_is_less_unsure_and_expected_as_before():
    few, new = places("few", 8), places("new", 3)
    process = likeliest(few)
    mean, deviation = process.at(new, new[:0])
    same, less = process.at(new, new[:1])
    np.testing.assert_allclose(same, mean)
    assert less[0] < 0.3 * deviation[0]
    assert (less <= deviation + 1e-9).all()


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (2.0, 0.5), (-3.0, 0.2), (0.4, 2.0)])
def test_hope_is_the_expected_improvement(mean, deviation):
    def weighed(y):
        return max(0.5 - y, 0) * math.exp(-(((y - mean) / deviation) ** 2) / 2)

    area, _ = quad(weighed, mean - 9 * deviation, max(0.5, mean - 9 * deviation), limit=200)
    expected = area / deviation / math.sqrt(2 * math.pi)
    found = hope(np.array([mean]), np.array([deviation]), 0.5).item()
    assert found == pytest.approx(math.log(expected), abs=1e-6)


def test_hope_is_finite_and_in_order_far_out():
    found = hope(np.array([-50.0, 0.0, 10.0, 40.0, 80.0]), np.ones(5), 0.0)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()


def test_the_same_place_told_twice_is_no_fault():
    told = np.concatenate([places("told", 6)] * 2)
    for process in Belief(Kernel(WORDS), told, np.arange(12) / 6 - 1).processes(
        4, Stream(0).numpy()
    ):
        assert np.isfinite(process.at(told, told[:0])[0]).all()


def test_the_average_is_of_what_is_hoped_for_and_not_of_its_logarithm():
    hopes = np.log([[0.1, 2.0, 0.3], [0.4, 1e-9, 0.3]])
    np.testing.assert_allclose(np.exp(averaged(hopes)), np.exp(hopes).mean(0))
    assert averaged(np.full((3, 1), -1e5)).item() == pytest.approx(-1e5)
