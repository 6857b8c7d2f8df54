"""The Gaussian process against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from metasearch.rng import Stream
from metasearch.search.gaussian import Kernel, Process, hope

WORDS = np.array([True, False, False])


def places(name, count):
    rng = Stream(0).at(name).numpy()
    return np.column_stack([rng.integers(0, 3, count), rng.random((count, 2))]).astype(float)


def effect(places):
    """Of one draw alone, and of two together."""
    return np.sin(4 * places[:, 1]) + (places[:, 0] == 1) * places[:, 2]


def scores(places):
    return (effect(places) - effect(places).mean()) / effect(places).std()


@pytest.fixture(scope="module")
def process():
    told = places("told", 40)
    return Process(told, scores(told), WORDS)


def test_the_slope_of_the_kernel_is_that_of_small_differences():
    kernel, rng = Kernel(WORDS), Stream(0).at("slope").numpy()
    settings = kernel.prior[0] + 0.3 * rng.normal(size=10)
    gaps = kernel.gaps(places("a", 6), places("b", 5))
    weights = rng.normal(size=(6, 5))
    steps = 1e-6 * np.eye(10)
    found = [(weights * (kernel(settings + s, gaps) - kernel(settings - s, gaps))).sum() / 2e-6
             for s in steps]  # fmt: skip
    np.testing.assert_allclose(kernel.slope(settings, gaps, weights), found, atol=1e-6)


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
    process = Process(few, scores(few), WORDS)
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
    mean, _ = Process(told, np.arange(12) / 6 - 1, WORDS).at(told, told[:0])
    assert np.isfinite(mean).all()
