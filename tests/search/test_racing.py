"""Racing stops what is clearly worse, hardly ever what is best, and leaves no other trace."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import wilcoxon

from metasearch.errors import ConfigError
from metasearch.rng import Stream
from metasearch.search.advisors import NoPruner
from metasearch.search.config import Constraint, SearchFile
from metasearch.search.first import Point
from metasearch.search.ledger import Record, open_run
from metasearch.search.racing import Bar, Pace, Racing, behind, signed_rank
from metasearch.search.run import run_search
from metasearch.trial.report import Cost, Report
from tests.search.plans import plan
from tests.search.planted import TRIAL
from tests.search.test_outcomes import Hands

TASKS, LOTS, RUNGS = 48, 3, 4


def test_the_test_is_wilcoxons():
    rng = Stream(0).at("gaps").numpy()
    for n in (1, 2, 5, 16, 40):
        gap = rng.normal(size=n) + 0.3
        expected = wilcoxon(gap, alternative="greater", method="exact").pvalue
        assert signed_rank(gap) == pytest.approx(expected, rel=1e-9)


def test_equal_sizes_share_their_ranks_and_zeros_do_not_count():
    gap = np.array([2.0, 2.0, -2.0, 1.0, 0.0, -3.0, 5.0])
    ranks = np.array([3, 3, 3, 1, 5, 6])  # of the sizes of all but the zero
    sums = [sum(r for r, plus in zip(ranks, signs, strict=True) if plus)
            for signs in itertools.product([0, 1], repeat=6)]  # fmt: skip
    seen = 3 + 3 + 1 + 6
    assert signed_rank(gap) == pytest.approx(np.mean([s >= seen for s in sums]))
    assert signed_rank(np.zeros(9)) == 1.0


def test_what_diverged_is_worst_and_rounding_is_no_difference():
    mine = np.array([1.0, math.nan, 3.0, math.nan, 1e6 * (1 + 1e-12)])
    other = np.array([0.5, 2.0, math.nan, math.nan, 1e6])
    assert behind(mine, other).tolist() == [0.5, math.inf, -math.inf, 0.0, 0.0]


def test_a_bar_travels_as_json():
    bar = Bar("0003", -1.0, 0.01, {100: {"a": 0.1, "b": 1 / 3}})
    assert Bar.of_data(json.loads(json.dumps(bar.to_data()))) == bar


def test_a_rung_that_no_leader_reported_is_not_raced():
    worse = {f"{i}": 9.0 + i for i in range(30)}
    bar = Bar("0003", 1.0, 0.05, {100: dict.fromkeys(worse, 0.0)})
    assert "worse than 0003 on 30 of 30 tasks" in bar(100, worse, 1)
    assert not bar(200, worse, 1) and not bar(100, {"elsewhere": 9.0}, 1)
    assert not Bar("0003", -1.0, 0.05, bar.rungs)(100, worse, 1), "where high is good"


def made(step, score):
    per_task = {f"{i:02d}": score + i / 100 for i in range(TASKS)}
    mean = float(np.mean(list(per_task.values())))
    return Report(step, False, Cost(0, 0, 0.0), mean, 0.0, 0.0, 0.0, per_task, {})


def test_the_best_that_finished_leads_and_before_that_whoever_came_furthest():
    pace = Pace(Racing(), 1.0, RUNGS)
    assert pace.bar() is None
    for name, scores in {"a": [5.0, 4.0], "b": [6.0, 3.0], "c": [1.0]}.items():
        for step, score in enumerate(scores, start=1):
            pace.reported(name, made(step, score))
    assert (pace.bar().leader, list(pace.bar().rungs)) == ("b", [1, 2])
    assert pace.bar("b").leader == "a", "nobody races against themselves"
    assert "worse than b" in pace.behind("a") and not pace.behind("c")
    pace.ended("b", [(1, 6.0), (2, 3.0)])
    assert pace.bar().leader == "a"
    pace.finished("d", 9.0, lambda: [made(1, 9.0), made(RUNGS, 9.0)])
    assert (pace.bar().leader, pace.behind("a")) == ("d", "")
    pace.finished("e", 2.0, lambda: [made(1, 4.5), made(RUNGS, 2.0)])
    assert "worse than e" in pace.behind("a"), "where both were seen"
    pace.finished("f", 3.0, lambda: pytest.fail("it does not lead, so nobody reads it"))
    assert pace.bar().leader == "e"


def test_the_level_is_shared_among_rivals_rungs_and_looks():
    pace = Pace(Racing(alpha=0.08, warmup=1), 1.0, reports=4)
    for name in ("a", "b"):
        for step in (1, 2):
            pace.reported(name, made(step, 1.0))
    pace.ended("gone", [(1, 9.0)])
    pace.ended("never judged", [])
    bar = pace.bar()
    assert list(bar.rungs) == [2], "the first report does not race"
    assert bar.level == pytest.approx(0.08 / 3 / 4 / 2)
    assert pace.bar("a").level == pytest.approx(0.08 / 2 / 4 / 2)


def test_who_diverged_never_leads():
    pace = Pace(Racing(), 1.0, RUNGS)
    pace.reported("a", made(2, math.nan))
    pace.reported("b", made(1, 5.0))
    assert pace.bar().leader == "b"


def raced(seed: int, trials: int, spread: float, slots: int = 1) -> tuple[bool, float]:
    """One search over planted scores: was the truly best stopped, which share was judged.

    A trial's score on a task is its quality, the task's hardness, how the two suit each other, and
    luck that is new at each rung; all trials get better by the same from rung to rung.
    """
    rng = Stream(seed).at("race").numpy()
    quality = spread * rng.normal(size=trials)
    hardness, suits = 3 * rng.normal(size=TASKS), rng.normal(size=(trials, TASKS))
    pace, judged, stopped = Pace(Racing(alpha=0.05), 1.0, RUNGS), 0, set()
    waiting, running = list(range(trials)), {}
    while waiting or running:
        while waiting and len(running) < slots:
            running[waiting.pop(0)] = (pace.bar(), [])
        for i, (bar, reports) in tuple(running.items()):
            rung = len(reports)
            luck = 0.5 * rng.normal(size=TASKS)
            scores = quality[i] + hardness + suits[i] + luck - rung
            seen: dict[str, float] = {}
            for lot in range(LOTS):
                seen |= {str(t): float(scores[t]) for t in range(lot, TASKS, LOTS)}
                if bar and bar(rung, seen, LOTS):
                    stopped.add(i)
                    break
            judged += len(seen)
            final = rung == RUNGS - 1
            if i not in stopped:
                reports.append(Report(rung, final, Cost(0, 0, 0.0), float(scores.mean()),
                                      0.0, 0.0, 0.0, seen, {}))  # fmt: skip
                pace.reported(str(i), reports[-1])
                if not final and pace.behind(str(i)):
                    stopped.add(i)
            if final or i in stopped:
                del running[i]
                if i in stopped:
                    pace.ended(str(i), [(r.step, r.score) for r in reports])
                else:
                    pace.finished(str(i), reports[-1].score, lambda made=reports: made)
    return int(np.argmin(quality)) in stopped, judged / (trials * RUNGS * TASKS)


@pytest.mark.parametrize("slots", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_race_saves_two_fifths_of_the_judging_and_hardly_ever_stops_the_best(slots):
    found = [raced(seed, trials=8, spread=1.0, slots=slots) for seed in range(1000)]
    assert np.mean([wrong for wrong, _ in found]) <= 0.05
    assert np.mean([share for _, share in found]) <= 0.6


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.2], ids=["alike", "nearly alike", "close"])
def test_of_trials_that_are_alike_the_best_is_hardly_ever_stopped(spread, slots):
    found = [raced(seed, trials=16, spread=spread, slots=slots)[0] for seed in range(1000)]
    assert np.mean(found) <= 0.05


def test_a_race_changes_nothing_but_who_is_stopped(tmp_path):
    tree = {"tasks": 40}
    free = run_search(plan(tree, trials=12, pruner=NoPruner()), tmp_path / "free", trial=TRIAL).run
    racing = plan(tree, trials=12, pruner=NoPruner(), race=Racing())
    run = run_search(racing, tmp_path / "race", trial=TRIAL).run
    stopped = [t for t in run.trials if t.outcome.reason == "race"]
    assert len(stopped) > 3 and run.best()[0].number == free.best()[0].number
    for trial, other in zip(run.trials, free.trials, strict=True):
        assert trial.info == other.info
        if trial.outcome.reason != "race":
            assert trial.outcome == other.outcome and trial.curve == other.curve


def test_a_partial_score_enters_neither_outcome_nor_curve_nor_study(tmp_path):
    racing = plan({"tasks": 40}, trials=8, pruner=NoPruner(), race=Racing(warmup=1))
    run = run_search(racing, tmp_path / "r", trial=TRIAL).run
    raced = [t for t in run.trials if t.outcome.reason == "race"]
    stopped = [t for t in raced if t.lost()]
    assert stopped and run.count("failed") == 0
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "r/study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    told = optuna.load_study(study_name="planted", storage=storage).trials
    for trial in stopped:
        whole = trial.reports()
        assert whole, "the first report does not race"
        assert trial.lost().lost == trial.outcome.detail and trial.lost() not in whole
        assert (trial.outcome.state, trial.outcome.score) == ("pruned", None)
        assert "of 40 tasks" in trial.outcome.detail
        assert [score for _, score in trial.curve] == [r.score for r in whole]
        assert list(told[trial.number].intermediate_values.values()) == [r.score for r in whole]
        assert told[trial.number].state.name == "PRUNED"
        assert told[trial.number].user_attrs["detail"] == trial.outcome.detail


def overtaken(folder: Path, origin: str = "given", **search: Any) -> list[Record]:
    """A slow trial and a better one that began after it, hand in hand."""
    tree = {"tasks": 40, "x": {"choice": [0.9, 0.1]}}
    racing = plan(tree, trials=2, pruner=NoPruner(), race=Racing(), **search)
    points = [Point({"x": x}, origin) for x in (0.9, 0.1)]
    backend = Hands(2, 10**6, [])
    return run_search(replace(racing, first=lambda: points), folder, backend=backend).run.trials


def test_a_trial_that_runs_is_overtaken_by_one_that_began_later(tmp_path):
    slow, fast = overtaken(tmp_path / "r")
    assert fast.outcome.state == "complete"
    assert (slow.outcome.state, slow.outcome.reason) == ("pruned", "race")
    assert slow.outcome.score is not None and not slow.lost(), "it was judged on all tasks"
    assert slow.outcome.detail.startswith(f"worse than {fast.info.name} on 40 of 40 tasks")


def test_references_run_to_their_ends(tmp_path):
    states = [t.outcome.state for t in overtaken(tmp_path / "r", "reference")]
    assert states == ["complete", "complete"]


def test_nobody_races_against_what_breaks_a_bound(tmp_path):
    bound = Constraint(score="cost", at_most=1.0)  # none of them tells its cost
    states = [t.outcome.state for t in overtaken(tmp_path / "r", constraints=(bound,))]
    assert states == ["complete", "complete"]


def test_a_search_that_races_goes_on_as_if_it_had_not_stopped(tmp_path):
    racing = plan({"tasks": 40}, trials=10, pruner=NoPruner(), race=Racing())
    whole = run_search(racing, tmp_path / "whole", trial=TRIAL).run
    for trials in (2, 3, 7, 10):
        some = plan({"tasks": 40}, trials=trials, pruner=NoPruner(), race=Racing())
        run_search(some, tmp_path / "again", trial=TRIAL)
    again = open_run(tmp_path / "again")
    assert [t.outcome for t in again.trials] == [t.outcome for t in whole.trials]


FILE = """
search: {{name: small, race: {{}}}}
trial:
  tasks: {{name: glyphs}}
  models: [{{name: vae, latent: {{choice: [8, 16]}}}}]
  algorithms: [{{name: reptile}}]
  score: {}
"""


def test_a_score_of_all_tasks_together_cannot_be_raced_for():
    assert SearchFile.from_yaml(FILE.format("mmd")).search.race == Racing()
    with pytest.raises(ConfigError, match=r"search\.race: the score 'frechet' judges all tasks"):
        SearchFile.from_yaml(FILE.format("{name: frechet}"))


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": 1.0}, {"warmup": -1}])
def test_settings_of_a_race_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Racing(**wrong)
