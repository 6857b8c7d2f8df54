"""Who leads: finished trials only, in the direction of the score."""

from __future__ import annotations

import math

import pytest

from metasearch.observe.base import Outcome, TrialInfo
from metasearch.observe.standing import causes, count, ranked


def ended(number, state, score, reason="finished"):
    return TrialInfo(number, f"{number:04d}", {}, {}), Outcome(state, reason, score)


TRIALS = [
    ended(0, "complete", 0.5),
    ended(1, "pruned", 0.1, "pruner"),
    ended(2, "complete", 0.3),
    ended(3, "complete", math.nan),
    ended(4, "failed", None, "user"),
    ended(5, "complete", 0.3),
]


@pytest.mark.parametrize(("direction", "order"), [("minimize", [2, 5, 0]), ("maximize", [0, 2, 5])])
def test_finished_trials_are_ranked_and_no_others(direction, order):
    assert [trial.number for trial, _ in ranked(TRIALS, direction)] == order


def test_ends_are_counted_by_state_and_cause():
    assert [count(TRIALS, state) for state in ("complete", "pruned", "failed")] == [4, 1, 1]
    assert causes(TRIALS, "pruned") == "1 pruner"
    assert not causes(TRIALS[:1], "failed")
