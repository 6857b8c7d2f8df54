"""Importance finds the draw that was planted, and calls chance by its name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metasearch.observe.base import Draw, Outcome, TrialInfo
from metasearch.observe.importance import influences, standing_order
from metasearch.rng import Stream

DRAWS = [
    Draw("x", "uniform", low=0.0, high=1.0),
    Draw("noise", "uniform", low=0.0, high=1.0),
    Draw("kind", "choice", ("a", "b")),
    Draw("kind.a.y", "log_uniform", low=1e-4, high=1.0, only_if=(("kind", "a"),)),
]


def trials(score, count=40, seed=0):
    rng = Stream(seed).at("planted").numpy()
    found = []
    for n in range(count):
        params = {"x": rng.random(), "noise": rng.random(), "kind": "ab"[n % 2]}
        if params["kind"] == "a":
            params["kind.a.y"] = float(10 ** rng.uniform(-4, 0))
        trial = TrialInfo(n, f"{n:04d}", params, {})
        found.append((trial, Outcome("complete", "finished", score(params))))
    return found


def by_path(score, direction="minimize", **more):
    return {i.path: i for i in influences(DRAWS, trials(score, **more), direction)}


def test_a_number_that_decides_is_first_and_settled_and_one_that_does_not_is_neither():
    ended = trials(lambda p: (p["x"] - 0.3) ** 2)
    first = influences(DRAWS, ended, "minimize")[0]
    assert first.path == "x"
    assert first.settled
    assert first.share > 0.5
    low, high = map(float, first.best.split(" to "))
    assert low < 0.35
    assert high > 0.25


def test_a_conditional_number_is_judged_within_its_branch_and_does_not_inherit_its_effect():
    found = by_path(lambda p: (p["kind"] == "a") + 0.01 * p["noise"])
    assert found["kind"].share > 0.7
    assert found["kind"].best == "b"
    assert found["kind.a.y"].trials == 20
    assert not found["kind.a.y"].settled
    found = by_path(lambda p: math.log(p.get("kind.a.y", 1e-2)))
    assert found["kind.a.y"].settled


def test_of_draws_that_do_nothing_few_are_settled():
    settled = 0
    for seed in range(20):
        rng = Stream(seed).at("scores").numpy()
        found = by_path(lambda p, rng=rng: rng.random(), seed=seed)
        settled += sum(i.settled for i in found.values())
    assert settled <= 12, "4 draws in each of 20 searches, one in twenty by chance"


def test_the_share_is_that_of_the_rank_test():
    ended = trials(lambda p: p["noise"] + 0.5 * (p["kind"] == "a"))
    share = {i.path: i.share for i in influences(DRAWS, ended, "minimize")}["kind"]
    stats = pytest.importorskip("scipy.stats")
    groups = [[o.score for t, o in ended if t.params["kind"] == k] for k in "ab"]
    n, k = len(ended), 2
    h = stats.kruskal(*groups).statistic
    assert share == pytest.approx(max(0.0, (h - k + 1) / (n - k)))


def test_the_direction_turns_which_option_is_best():
    for direction, best in (("minimize", "b"), ("maximize", "a")):
        found = by_path(lambda p: float(p["kind"] == "a") + 1e-3 * p["noise"], direction)
        assert found["kind"].best == best


def test_pruned_trials_stand_below_the_finished_by_how_far_they_came():
    def made(n, *outcome, **more):
        return TrialInfo(n, str(n), {}, {}), Outcome(*outcome, **more)

    ended = [
        made(0, "failed", "user"),
        made(1, "pruned", "non_finite"),
        made(2, "pruned", "pruner", 0.1, step=10),
        made(3, "pruned", "pruner", 5.0, step=20),
        made(4, "complete", "finished", 9.0, step=30),
        made(5, "complete", "finished", 8.0, step=30),
    ]
    assert [t.number for t, _ in standing_order(ended, "minimize")] == [5, 4, 3, 2, 1]
    assert [t.number for t, _ in standing_order(ended, "maximize")][:2] == [4, 5]


def test_of_few_trials_nothing_is_said():
    assert influences(DRAWS, trials(lambda p: p["x"], count=7), "minimize") == []
    assert np.isfinite([i.p for i in influences(DRAWS, trials(lambda p: p["x"]), "minimize")]).all()
