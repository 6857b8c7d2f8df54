"""The best so far, and what fewer trials would have found, against the obvious way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from metasearch.observe.base import Outcome, TrialInfo
from metasearch.observe.trends import best_so_far, expected_best_of


def ended(*scores):
    found = []
    for n, score in enumerate(scores):
        state = "failed" if score is None else "complete"
        found.append((TrialInfo(n, f"{n:04d}", {}, {}), Outcome(state, "x", score, score, score)))
    return found


def test_the_leader_is_told_whenever_it_changes_and_at_the_end():
    found = best_so_far(ended(5.0, 7.0, None, 3.0, 4.0), "minimize")
    assert [(b.ended, b.score) for b in found] == [(1, 5.0), (4, 3.0), (5, 3.0)]
    found = best_so_far(ended(5.0, 7.0, None, 3.0), "maximize")
    assert [(b.ended, b.score) for b in found] == [(1, 5.0), (2, 7.0), (4, 7.0)]
    assert best_so_far(ended(None), "minimize") == []


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_expected_best_is_the_mean_over_all_choices_of_trials(direction):
    scores = [4.0, 1.0, 3.0, 9.0, 1.0, 2.5]
    pick = min if direction == "minimize" else max
    found = expected_best_of(ended(*scores), direction)
    assert [e.trials for e in found] == [1, 2, 3, 4, 5, 6]
    for expected in found:
        best = [pick(chosen) for chosen in combinations(scores, expected.trials)]
        assert expected.mean == pytest.approx(np.mean(best))
        inner, outer = sorted((expected.low, expected.high))
        assert np.mean([inner <= b <= outer for b in best]) >= 0.9 - 1e-9


def test_a_failed_trial_counts_as_the_worst():
    with_failure = expected_best_of(ended(1.0, 2.0, None), "minimize")
    as_worst = expected_best_of(ended(1.0, 2.0, 2.0), "minimize")
    assert with_failure == as_worst
    assert expected_best_of(ended(None), "minimize") == []
