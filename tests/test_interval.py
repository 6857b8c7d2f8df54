"""Intervals hold what they promise on simulated tasks; comparisons are paired."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metasearch.errors import EnvironmentFault
from metasearch.interval import mean_interval, paired_difference
from metasearch.rng import Stream

SIMULATIONS = 1000


def coverage(draw, truth, n):
    rng = Stream(30).at("coverage", n).numpy()
    hits = 0
    for k in range(SIMULATIONS):
        _, low, high = mean_interval(draw(rng, n), seed=k)
        hits += low <= truth <= high
    return hits / SIMULATIONS


@pytest.mark.parametrize("n", [8, 48])
def test_normal_values_are_covered_95_times_in_100(n):
    found = coverage(lambda rng, size: rng.normal(3, 2, size), 3, n)
    error = math.sqrt(0.95 * 0.05 / SIMULATIONS)
    # The bootstrap's own noise and eight tasks cost a little more than binomial error.
    assert abs(found - 0.95) < 3 * error + (0.01 if n < 20 else 0)


def test_skewed_values_are_covered_nearly_as_often():
    found = coverage(lambda rng, size: rng.exponential(1, size), 1, 48)
    assert 0.925 < found < 0.965


def test_equal_values_and_seeds_give_equal_intervals_and_other_seeds_nearly_so():
    x = Stream(31).numpy().normal(size=48)
    one, two, other = (mean_interval(x, seed) for seed in (0, 0, 1))
    assert one == two != other
    assert one.mean == other.mean == pytest.approx(float(x.mean()))
    assert one.low == pytest.approx(other.low, abs=0.03)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_interval_holds_the_mean_and_stays_within_the_values(values):
    mean, low, high = mean_interval(np.array(values))
    slack = 1e-9 * (1 + max(abs(v) for v in values))
    assert min(values) - slack <= low <= mean + slack
    assert mean - slack <= high <= max(values) + slack


def test_shifting_and_stretching_values_does_the_same_to_the_interval():
    x = Stream(32).numpy().exponential(size=30)
    plain, moved = mean_interval(x), mean_interval(5 + 2 * x)
    assert moved == pytest.approx([5 + 2 * v for v in plain])


def test_values_that_are_not_finite_are_left_out():
    x = np.array([1.0, 2.0, np.nan, 4.0, np.inf])
    assert mean_interval(x) == mean_interval(np.array([1.0, 2.0, 4.0]))


def test_too_few_values_have_no_interval():
    assert all(math.isnan(v) for v in mean_interval(np.array([np.nan])))
    mean, low, high = mean_interval(np.array([np.nan, 7.0]))
    assert mean == 7 and math.isnan(low) and math.isnan(high)


def test_equal_values_have_an_interval_of_no_length():
    assert mean_interval(np.full(9, 0.1)) == pytest.approx((0.1, 0.1, 0.1))


def test_pairing_finds_what_the_spread_of_tasks_hides():
    rng = Stream(33).numpy()
    tasks = rng.normal(100, 20, 48)
    a, b = tasks + rng.normal(0, 1, 48), tasks + 2 + rng.normal(0, 1, 48)
    found = paired_difference(a, b)
    assert found.low < found.mean < found.high < 0
    assert found.mean == pytest.approx(float((a - b).mean()))
    assert mean_interval(a).high > mean_interval(b).low
    assert found.p < 1e-6
    back = paired_difference(b, a)
    assert back.mean == pytest.approx(-found.mean) and back.p == pytest.approx(found.p)


def test_tasks_where_one_diverged_are_left_out_and_counted():
    a, b = np.array([1.0, np.nan, 3.0, 4.0]), np.array([2.0, 2.0, 5.0, np.inf])
    found = paired_difference(a, b)
    assert found.missing == 2 and found.values.tolist() == [-1.0, -2.0]


def test_no_difference_has_p_one():
    assert paired_difference(np.arange(6.0), np.arange(6.0)).p == 1


def test_vectors_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="task by task, got 3 and 4"):
        paired_difference(np.zeros(3), np.zeros(4))


def test_without_scipy_only_the_p_value_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    found = paired_difference(np.arange(6.0), np.ones(6))
    assert math.isfinite(found.low)
    with pytest.raises(EnvironmentFault, match=r"pip install 'metasearch\[search\]'"):
        _ = found.p
