"""Scales are exact at their ends, ticks are round, and outliers do not flatten a plot."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metasearch.drawing.axes import Scale, bounds, nice_step, robust_bounds, tick_texts

NUMBERS = st.floats(-1e6, 1e6)


@given(NUMBERS, st.floats(1e-3, 1e6))
def test_a_scale_maps_its_ends_to_its_ends_and_keeps_order(low, span):
    scale = Scale(low, low + span, 300, 20)
    assert scale.at(low) == pytest.approx(300)
    assert scale.at(low + span) == pytest.approx(20)
    assert 300 >= scale.at(low + span / 3) >= scale.at(low + span / 2) >= 20


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e6))
def test_a_logarithmic_scale_maps_equal_factors_to_equal_lengths(low, factor):
    scale = Scale(low, low * factor**2, 0, 100, log=True)
    assert scale.at(low * factor) == pytest.approx(50, abs=0.1)


@given(NUMBERS, st.floats(1e-3, 1e6), st.booleans())
def test_ticks_lie_within_and_are_few(low, span, log):
    low = abs(low) + 1e-3 if log else low
    scale = Scale(low, low + span, 0, 100, log)
    ticks = scale.ticks()
    slack = 1e-6 * (abs(low) + span)
    assert all(low - slack <= t <= low + span + 2e-3 * abs(low + span) + slack for t in ticks)
    assert len(ticks) <= 16


def test_what_is_beyond_a_scale_is_put_at_its_edge():
    assert Scale(0, 1, 0, 100).at(7) == 100
    assert Scale(5, 5, 0, 100).at(5) == 50


@given(st.floats(1e-9, 1e9), st.integers(2, 9))
def test_a_step_is_one_two_or_five_times_a_power_of_ten(span, about):
    step = nice_step(span, about)
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(digits - d) for d in (1, 2, 5, 10)) < 1e-6
    assert span / step <= about * 1.01


def test_texts_of_ticks_have_the_same_decimals():
    assert tick_texts([0.5, 1.0, 1.5]) == ["0.5", "1.0", "1.5"]
    assert tick_texts([10.0, 12.5, 15.0]) == ["10.0", "12.5", "15.0"]
    assert tick_texts([0, 1_000_000, 20_000_000]) == ["0", "1M", "20M"]
    assert tick_texts([]) == []


def test_one_diverged_trial_does_not_flatten_the_others():
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 900.0]
    assert robust_bounds(values, lower_is_better=True)[1] < 10
    assert robust_bounds(values, lower_is_better=False)[1] > 900
    assert robust_bounds([-v for v in values], lower_is_better=False)[0] > -10


def test_nothing_finite_still_gives_a_range():
    assert bounds([math.nan, math.inf]) == (0.0, 1.0)
    assert robust_bounds([], lower_is_better=True) == (0.0, 1.0)
