"""Who leads: finished trials only, in the direction of the score."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from metasearch.observe.base import Outcome, TrialInfo
from metasearch.observe.standing import Standing, ranked
from metasearch.rng import Stream


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


@pytest.mark.parametrize(("direction", "order"), [("minimize", [5, 0, 2]), ("maximize", [0, 5, 2])])
def test_who_breaks_a_bound_is_behind_all_who_keep_it(direction, order):
    some = [(trial, replace(end, kept=trial.number != 2)) for trial, end in TRIALS]
    assert [trial.number for trial, _ in ranked(some, direction)] == order


def test_ends_are_counted_by_state_and_cause():
    standing = Standing("minimize", TRIALS)
    assert [standing.count(state) for state in ("complete", "pruned", "failed")] == [4, 1, 1]
    assert (len(standing), standing.causes("pruned")) == (6, "1 pruner")
    assert not Standing("minimize", TRIALS[:1]).causes("failed")


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_leaders_are_the_sorted_ones_whatever_the_order_of_ending(direction):
    scores = Stream(0).at("scores").numpy().integers(0, 20, 100) / 4  # with many ties
    trials = [ended(n, "complete", float(score)) for n, score in enumerate(scores)]
    late_first = sorted(trials, key=lambda pair: -pair[0].number)
    sign = 1 if direction == "minimize" else -1
    best = sorted(trials, key=lambda pair: (sign * pair[1].score, pair[0].number))
    assert Standing(direction, late_first).leaders == best
