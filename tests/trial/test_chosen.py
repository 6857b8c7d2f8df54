"""What is told of a strategy: spread of chances, and shares of draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metasearch.trial.chosen import gini, shares, spread


def test_even_chances_have_full_entropy_and_one_arm_none():
    even, single = spread(np.full(8, 1 / 8)), spread(np.eye(8)[2])
    assert even == pytest.approx({"entropy": 1.0, "effective": 8.0, "largest": 1 / 8})
    assert single == pytest.approx({"entropy": 0.0, "effective": 1.0, "largest": 1.0})
    half = spread(np.array([0.5, 0.5, 0, 0]))
    assert half["entropy"] == pytest.approx(math.log(2) / math.log(4))


def test_gini_is_zero_if_even_and_near_one_if_one_took_all():
    assert gini(np.full(10, 3)) == 0
    assert gini(np.eye(10)[0] * 5) == pytest.approx(0.9)
    assert gini(np.zeros(4, int)) == 0


def test_shares_are_of_names_and_sum_to_one():
    found = shares(np.array([1, 2, 3, 2]), ["b", "a", "b", "c"])
    assert found == {"a": 0.25, "b": 0.5, "c": 0.25}
    many = shares(np.ones(30), [f"g{i:02d}" for i in range(30)])
    assert len(many) == 12
    assert many["others"] == pytest.approx(19 / 30)
    assert sum(many.values()) == pytest.approx(1)
