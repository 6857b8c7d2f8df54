"""A search in a few drawings: nothing is drawn of nothing, and failures are told by cause."""

from __future__ import annotations

import math

from metasearch.drawing.scene import Dot, Label
from metasearch.observe.base import Outcome, TrialInfo
from metasearch.observe.overview import Pictured, failures, history, overview
from metasearch.observe.taskmap import scores_by_step, task_map
from tests.observe.synthetic_search import (
    outcome_of,
    report,
    rungs_of,
    search_info,
    trial_info,
)


def ended(count):
    trials = [trial_info(n) for n in range(count)]
    return [(t, outcome_of(t, report(t, rungs_of(t), pictures=False))) for t in trials]


def test_what_there_are_too_few_trials_for_is_left_out(tmp_path):
    info = search_info(tmp_path)
    assert overview(info, []) == {}
    assert list(overview(info, ended(2))) == ["best so far", "parallel coordinates"]
    assert "importance" in overview(info, ended(12))


def test_every_scored_trial_is_a_dot_and_a_stopped_one_is_hollow(tmp_path):
    told = ended(8)
    dots = [m for m in history(search_info(tmp_path), told).marks if isinstance(m, Dot) and m.note]
    assert len(dots) == 7, "one of eight failed without a score"
    assert sum(d.hollow for d in dots) == sum(o.state == "pruned" for _, o in told)


def test_failures_that_differ_in_numbers_alone_are_one():
    def failed(n, error, reason="user"):
        return TrialInfo(n, f"t{n}", {}, {}), Outcome("failed", reason, error=error)

    told = failures([failed(0, "x\nE: 1 of 2"), failed(1, "x\nE: 7 of 9"), failed(2, "F: no")])
    assert told.startswith("**2 user**: `E: # of #`\n\nt0, t1\n")
    assert "**1 user**: `F: no`" in told
    assert failures([]) == "No trial has failed."


def test_the_best_at_each_step_are_pictured_and_no_more():
    pictured = Pictured(lower_is_better=True, most=2)
    assert [pictured.admits(1, s) for s in (5.0, 4.0, 6.0, 4.5, math.nan)] == [
        True, True, False, True, False,
    ]  # fmt: skip
    assert pictured.admits(2, 99.0)
    upward = Pictured(lower_is_better=False, most=1)
    assert [upward.admits(1, s) for s in (1.0, 2.0, 0.5)] == [True, True, False]


def test_hard_tasks_stand_on_top_and_a_diverged_task_is_crossed_out():
    told = {"1k": {"easy": 0.1, "hard": 0.9}, "2k": {"easy": 0.05, "hard": math.nan}}
    drawn = task_map(told, "minimize", "t")
    rows = {m.text: m.y for m in drawn.marks if isinstance(m, Label)}
    assert rows["hard"] < rows["easy"]
    assert "hardest is hard" in drawn.about
    assert task_map({}, "minimize", "t") is None


def test_steps_are_told_short():
    assert list(scores_by_step([(500, {}), (16_000, {}), (1_250_000, {})])) == [
        "500", "16k", "1250k",
    ]  # fmt: skip
