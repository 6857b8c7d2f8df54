"""Racing runs the best first, hardly ever stops what is best, and leaves no other trace."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import wilcoxon

from metasearch.errors import ConfigError
from metasearch.rng import Stream
from metasearch.search import pace as pace_module
from metasearch.search.config import Constraint, SearchFile
from metasearch.search.first import Point
from metasearch.search.ledger import Record, open_run
from metasearch.search.pace import Pace
from metasearch.search.racing import Bar, Hurdles, Racing, allowance, behind, lag, signed_rank
from metasearch.search.run import Plan, run_search
from metasearch.search.stopping import NoPruner
from metasearch.trial.report import Cost, Report
from tests.house import ROOT
from tests.search.plans import plan
from tests.search.planted import TRIAL
from tests.search.test_outcomes import Hands, PowerCut

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
    bar = Bar("0003", -1.0, 0.01, {"a": 0.1, "b": 1 / 3}, {100: 0.5, 200: 0.0})
    assert Bar.of_data(json.loads(json.dumps(bar.to_data()))) == bar


def test_who_cannot_catch_up_even_with_the_largest_gain_is_beaten():
    goal = {f"{i}": 6.0 + i / 10 for i in range(30)}
    bar = Bar("0003", 1.0, 0.05, goal, {100: 0.3, 200: 0.1})
    mine = {task: 1.2 * score for task, score in goal.items()}
    assert not bar(100, mine, 1), "with 30 % off it would lead"
    assert "worse than 0003 on 30 of 30 tasks, however much it gains (10%)" in bar(200, mine, 1)
    assert not bar(300, mine, 1), "a rung that nobody who finished reported"
    assert not bar(200, {"elsewhere": 9.0}, 1)
    assert not Bar("0003", -1.0, 0.05, goal, bar.gains)(200, mine, 1), "where high is good"


def made(step, score):
    per_task = {f"{i:02d}": score + i / 100 for i in range(TASKS)}
    mean = float(np.mean(list(per_task.values())))
    return Report(step, False, Cost(0, 0, 0.0), mean, 0.0, 0.0, 0.0, per_task, {})


@pytest.mark.parametrize("seen", [1, 3, 8, 30])
def test_of_gains_that_are_spread_evenly_the_next_is_hardly_ever_more_than_is_allowed_for(seen):
    gains = Stream(seen).at("gains").numpy().uniform(size=(100_000, seen + 1))
    bound = allowance(seen, 0.05) * gains[:, :seen].max(1)
    assert bound.min() > 0 and np.mean(gains[:, seen] > bound) <= 0.052
    assert (allowance(seen, 0.05) == 1) == (seen >= 19)


def run_to_the_end(pace, name, *scores):
    reports = [made(step, score) for step, score in enumerate(scores, start=1)]
    pace.finished(name, [(r.step, r.score) for r in reports], lambda: reports)


def test_the_best_that_finished_leads_and_before_that_whoever_came_furthest():
    pace = Pace(Racing(starters=1), 1.0, RUNGS)
    assert pace.bar() is None
    for name, scores in {"a": [5.0, 4.0], "b": [6.0, 3.0], "c": [1.0]}.items():
        for step, score in enumerate(scores, start=1):
            pace.reported(name, made(step, score))
    assert pace.bar() is None, "nobody has shown what may still be gained"
    assert pace.waits("a") and not pace.waits("b"), "b leads, and nobody races against themselves"
    assert not pace.waits("c"), "seen is the last rung that both reported"
    pace.ended("b", [(1, 6.0), (2, 3.0)])
    assert pace.waits("a"), "c did better at the first report"
    run_to_the_end(pace, "d", 9.0, 9.0, 9.0, 9.0)
    assert pace.bar().leader == "d" and not pace.waits("a")
    run_to_the_end(pace, "e", 4.5, 2.0, 2.0, 1.9)
    assert pace.bar().leader == "e" and pace.waits("a")
    run_to_the_end(pace, "f", 9.0, 8.0, 8.0, 2.5)
    assert pace.bar().leader == "e"


def test_what_may_still_be_gained_is_known_when_enough_trials_went_on():
    pace = Pace(Racing(warmup=1, starters=4), 1.0, RUNGS)
    last = made(4, 5.0).score
    for went_on, (name, early) in enumerate({"a": 10.0, "b": 20.0, "c": 8.0}.items(), start=1):
        run_to_the_end(pace, name, 30.0, early, 6.0, 5.0)
        assert list(pace.bar().gains) == [3, 4] if went_on > 1 else [4]
    pace.reported("d", made(1, 9.0))
    pace.reported("d", made(2, 9.0))
    assert list(pace.bar().gains) == [3, 4], "the first report does not race"
    pace.reported("d", made(3, 8.0))
    largest = 1 - last / made(2, 20.0).score
    assert pace.bar().gains[2] == pytest.approx(largest * allowance(4, 0.05))
    assert pace.bar().gains[4] == 0.0


def test_starters_wait_for_each_other_and_then_the_best_goes_on():
    pace = Pace(Racing(starters=3), 1.0, RUNGS)
    for name, score in {"a": 5.0, "b": 2.0, "c": 9.0}.items():
        pace.reported(name, made(1, score))
        assert pace.waits(name), "for the others, and then, as c, for b"
        pace.set_aside(name)
        assert pace.pick(last=False) == ("b" if name == "c" else "")


def test_one_goes_on_for_as_many_as_start_together_and_it_is_the_best_of_those_that_wait():
    pace = Pace(Racing(starters=2), 1.0, RUNGS)
    goes_on = {"a": "", "b": "b", "c": "", "d": "a", "e": "", "f": "f"}
    for name, score in zip("abcdef", [5.0, 4.0, 9.0, 7.0, 6.0, 4.5], strict=True):
        pace.reported(name, replace(made(1, score), per_task={"0": score}))
        assert pace.waits(name) == (goes_on[name] != name)
        if goes_on[name] != name:
            pace.set_aside(name)
            assert pace.pick(last=False) == goes_on[name]
    assert pace.pick(last=False) == ""
    assert pace.pick(last=True) == "e", "no others will be asked for"


def test_who_is_over_counts_among_those_that_began():
    pace = Pace(Racing(starters=3), 1.0, RUNGS)
    for name, first in {"a": 3.0, "b": 2.0}.items():
        pace.ended(name, [(1, first), (2, 1.0)])
    pace.ended("never judged", [])
    pace.ended("diverged", [(1, math.nan)])
    pace.reported("c", made(1, 2.5))
    assert pace.waits("c"), "b began better, and one of four goes on"
    pace.reported("d", made(1, 1.0))
    assert not pace.waits("d")


def test_who_waits_goes_on_when_nobody_is_ahead_any_more():
    pace = Pace(Racing(starters=1), 1.0, RUNGS)
    for name, score in {"slow": 5.0, "slower": 6.0, "fast": 3.0}.items():
        pace.reported(name, made(1, score))
    pace.reported("fast", made(2, 2.5))
    assert pace.waits("slow")
    for name in ("slow", "slower"):
        pace.set_aside(name)
    assert not pace.pick(last=False)
    assert pace.pick(last=True) == "slow", "with nobody left to be asked for"
    pace.set_aside("slow")
    pace.ended("fast", [(1, 3.0), (2, 2.5)])
    assert pace.pick(last=False) == "slow"


def test_who_waits_is_not_compared_again_while_nothing_changes(monkeypatch):
    """Nothing grows with the trials that wait, for an order or a report."""
    told = []
    monkeypatch.setattr(pace_module, "lag", lambda *pairs: told.append(1) or lag(*pairs))
    pace = Pace(Racing(starters=1), 1.0, RUNGS)
    run_to_the_end(pace, "leads", 5.0, 4.0, 3.0, 2.0)
    for i in range(50):
        pace.reported(f"{i}", made(1, 7.0 + i))
        assert pace.waits(f"{i}")
        pace.set_aside(f"{i}")
    for turn in range(50):
        assert pace.pick(last=True) == f"{turn}", "the nearest first"
    assert len(told) == 50


def rebuilt(racing, over, runs):
    """As a later sitting has it: of who is over, the curve alone, and of the leader all."""
    pace = Pace(racing, 1.0, RUNGS)
    for name, made in over.items():
        whole = [report for report in made if report.whole]
        curve = [(report.step, report.score) for report in whole]
        begun = None if made[0].whole else made[0].score
        if made[-1].step == RUNGS:
            pace.finished(name, curve, lambda whole=whole: whole, begun)
        else:
            pace.ended(name, curve, begun)
    for name, made in runs.items():
        for report in made:
            pace.reported(name, report)
    return pace


def judged_by(gate, step, per_task):
    """A report of all tasks, or of some if the gate says so."""
    mean, some = (
        float(np.mean(list(per_task.values()))),
        dict(list(per_task.items())[: TASKS // LOTS]),
    )
    report = Report(step, False, Cost(0, 0, 0.0), mean, 0.0, 0.0, 0.0, per_task, {})
    halt = gate(step, some, LOTS) if gate else None
    return replace(report, score=halt.score, per_task=some, behind=halt.behind) if halt else report


@pytest.mark.parametrize("seed", range(20))
def test_who_goes_on_is_as_the_reports_say_whatever_was_asked_on_the_way(seed):
    """A pace that is asked all the time, and one that is told the same and asked once."""
    rng = Stream(seed).at("pace").numpy()
    racing = Racing(starters=int(rng.integers(1, 5)), alpha=0.5)
    quality, luck = rng.normal(size=12), rng.normal(size=(12, RUNGS, TASKS))
    asked, told, aside, runs, over = Pace(racing, 1.0, RUNGS), [], [], {}, {}

    def again():
        pace = Pace(racing, 1.0, RUNGS)
        for call in told:
            call(pace)
        for name in aside:
            pace.set_aside(name)
        return pace

    def tell(call):
        told.append(call)
        call(asked)

    new = [str(i) for i in range(12)]
    while new or runs or aside:
        last = not new
        picked = again().pick(last=last)
        assert asked.pick(last=last) == picked
        name = picked or (new.pop(0) if new else "")
        if picked:
            aside.remove(picked)
        made = runs.setdefault(name, [])
        scores = 20 + quality[int(name)] - len(made) + luck[int(name), len(made)]
        per_task = {str(t): float(s) for t, s in enumerate(scores)}
        step = len(made) + 1
        gate, later = asked.gate(name), rebuilt(racing, over, runs)
        assert gate == again().gate(name) == later.gate(name) and asked.bar() == later.bar()
        report = judged_by(gate, step, per_task)
        made.append(report)
        curve = [(r.step, r.score) for r in made if r.whole]
        tell(lambda pace, name=name, report=report: pace.reported(name, report))
        if step == RUNGS or (why := asked.beaten(name)):
            assert step == RUNGS or again().beaten(name) == why
            whole = tuple(r for r in made if r.whole)
            tell(lambda pace, n=name, c=curve, m=whole: pace.finished(n, c, lambda: m)
                 if m[-1:] and m[-1].step == RUNGS else pace.ended(n, c))  # fmt: skip
            over[name] = runs.pop(name)
        else:
            assert asked.waits(name) == again().waits(name)
            asked.set_aside(name)  # so that it is asked who goes on
            aside.append(name)


def test_who_was_set_aside_goes_on_once_it_is_not_clearly_behind():
    """Among more rivals the level is lower; whether it was looked at before does not matter."""
    luck = Stream(3).at("close").numpy().normal(size=TASKS)
    pace, rebuilt = (Pace(Racing(starters=1), 1.0, 1) for _ in range(2))
    leads, close = ({str(t): s for t, s in enumerate(x)} for x in (luck * 0, luck + 0.4))
    p = lag(np.array(list(close.values())), np.zeros(TASKS))
    assert 0.05 / 2 / 20 < p < 0.05 / 2, "clearly behind among two, not among twenty"

    def report(scores):
        return Report(1, False, Cost(0, 0, 0.0), float(np.mean(list(scores.values()))), 0.0, 0.0,
                      0.0, scores, {})  # fmt: skip

    for each in (pace, rebuilt):
        each.reported("leads", report(leads))
        each.reported("close", report(close))
    assert pace.waits("close")
    pace.set_aside("close")
    assert not pace.pick(last=False)
    for each in (pace, rebuilt):
        for i in range(20):
            each.ended(f"{i}", [(1, 99.0)])
    rebuilt.set_aside("close")
    assert pace.pick(last=False) == rebuilt.pick(last=False) == "close"


def test_the_level_is_shared_among_rivals_rungs_and_looks():
    pace = Pace(Racing(alpha=0.08), 1.0, reports=4)
    pace.reported("runs", made(1, 1.0))
    pace.ended("gone", [(1, 9.0)])
    pace.ended("never judged", [])
    run_to_the_end(pace, "leads", 1.0, 1.0, 1.0, 1.0)
    assert pace.bar().level == pytest.approx(0.08 / 3 / 4 / 2)


def test_who_diverged_never_leads():
    pace = Pace(Racing(), 1.0, RUNGS)
    pace.reported("a", made(2, math.nan))
    pace.reported("b", made(1, 5.0))
    for name in ("a", "b"):
        pace.set_aside(name)
    assert pace.pick(last=True) == "b"


def raced(seed: int, trials: int, spread: float, slots: int = 1) -> tuple[bool, float]:
    """One search over planted scores: did the truly best not finish, which share was judged.

    A trial's score on a task is its quality, the task's hardness, how the two suit each other, and
    luck that is new at each rung; all trials get better by the same from rung to rung.
    """
    rng = Stream(seed).at("race").numpy()
    quality = spread * rng.normal(size=trials)
    hardness, suits = 3 * rng.normal(size=TASKS), rng.normal(size=(trials, TASKS))
    luck = 0.5 * rng.normal(size=(trials, RUNGS, TASKS))
    scores = 20 + (quality[:, None] + hardness + suits)[:, None] + luck
    scores -= np.arange(RUNGS)[None, :, None]
    racing = Racing(alpha=0.05, starters=trials // 3)
    found = ByHand(Pace(racing, 1.0, RUNGS), scores)
    found.run(slots)
    return int(np.argmin(quality)) not in found.whole, found.judged / scores.size


@dataclass
class ByHand:
    """A race over known scores, [trials, rungs, tasks], run as the desk does it."""

    pace: Pace
    scores: np.ndarray
    whole: set[int] = field(default_factory=set)  # trials that finished
    judged: int = 0  # tasks
    made: dict[int, list[Report]] = field(default_factory=lambda: defaultdict(list))
    aside: set[str] = field(default_factory=set)

    def run(self, slots: int) -> None:
        new, running = list(range(len(self.scores))), {}
        while new or running or self.aside:
            while len(running) < slots and (new or self.aside):
                name = self.pace.pick(last=not new)
                self.aside.discard(name)
                i = int(name) if name else new.pop(0)
                running[i] = Hurdles(self.pace.bar(), self.pace.gate(str(i)))
            for i, race in tuple(running.items()):
                if not self.goes_on(i, race):
                    del running[i]

    def goes_on(self, i: int, race: Hurdles) -> bool:
        """Judge a trial at its next rung."""
        rung = len(self.made[i])
        scores, seen = self.scores[i, rung], {}
        for lot in range(LOTS):
            seen |= {str(t): float(scores[t]) for t in range(lot, len(scores), LOTS)}
            if halt := race(rung, seen, LOTS):
                break
        self.judged += len(seen)
        why, behind = (halt.lost, halt.behind) if halt else ("", "")
        if not why:
            score = halt.score if halt else float(scores.mean())
            report = Report(rung, False, Cost(0, 0, 0.0), score, 0.0, 0.0, 0.0, seen, {})
            report = replace(report, behind=behind)
            self.made[i].append(report)
            self.pace.reported(str(i), report)
            why = self.pace.beaten(str(i))
        if why:
            self.stop(str(i))
        elif rung == self.scores.shape[1] - 1:
            self.finish(i)
        elif self.pace.waits(str(i)):
            self.aside.add(str(i))
            self.pace.set_aside(str(i))
        else:
            return True
        return False

    def stop(self, name: str) -> None:
        self.aside.discard(name)
        self.pace.ended(name, [(r.step, r.score) for r in self.made[int(name)] if r.whole])

    def finish(self, i: int) -> None:
        self.whole.add(i)
        made = [report for report in self.made[i] if report.whole]
        self.pace.finished(str(i), [(r.step, r.score) for r in made], lambda: made)
        for other in sorted(self.aside):
            if self.pace.beaten(other):
                self.stop(other)


def test_who_learns_late_goes_on_if_others_did_and_who_cannot_catch_up_does_not():
    slow, leader = [60.0, 52, 42, 33, 28, 25], [40.0, 30, 26, 23, 22, 21]
    late, poor = [46.0, 41, 34, 27, 23, 18], [90.0, 88, 87, 86, 85, 84]
    luck = Stream(1).at("late").numpy().normal(size=(4, 6, TASKS))
    scores = np.array([slow, leader, late, poor])[:, :, None] + luck
    at_each = [lag(scores[2, rung], scores[1, rung]) for rung in range(5)]
    assert max(at_each) < 1e-3, "the late one is clearly behind until the end"
    found = ByHand(Pace(Racing(alpha=0.25, starters=1), 1.0, 6), scores)
    found.run(slots=1)
    assert found.whole == {0, 1, 2} and found.judged < scores.size


MANY = [pytest.param(1000, marks=pytest.mark.slow), 30]


@pytest.mark.parametrize("searches", MANY)
@pytest.mark.parametrize("slots", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_race_saves_two_fifths_of_the_judging_and_hardly_ever_stops_the_best(slots, searches):
    found = [raced(seed, trials=24, spread=1.0, slots=slots) for seed in range(searches)]
    assert np.mean([wrong for wrong, _ in found]) <= 0.05
    assert np.mean([share for _, share in found]) <= 0.6


def unequal(seed: int, trials: int) -> np.ndarray:
    """Planted scores of trials that gain from 5 to 60 % on their way, so that curves cross."""
    rng = Stream(seed).at("unequal").numpy()
    early, gains = 30 + 2 * rng.normal(size=trials), rng.uniform(0.05, 0.6, size=trials)
    curves = early[:, None] * (1 - gains[:, None] * np.arange(RUNGS) / (RUNGS - 1))
    scores = curves[:, :, None] + 3 * rng.normal(size=TASKS) + rng.normal(size=(trials, 1, TASKS))
    return scores + 0.5 * rng.normal(size=(trials, RUNGS, TASKS))


def stops_the_best(scores: np.ndarray) -> tuple[bool, float]:
    """Did what would end best not finish, and which share was judged? As many start as by default."""
    trials, rungs, _ = scores.shape
    found = ByHand(Pace(Racing(starters=min(8, trials // 3)), 1.0, rungs), scores)
    found.run(1)
    return int(scores[:, -1].mean(1).argmin()) not in found.whole, found.judged / scores.size


@pytest.mark.parametrize("searches", MANY)
@pytest.mark.parametrize("trials", [9, 20])
def test_of_trials_that_gain_unequally_the_best_is_hardly_ever_stopped(trials, searches):
    found = [stops_the_best(unequal(seed, trials))[0] for seed in range(searches)]
    assert np.mean(found) <= 0.05


@pytest.mark.parametrize("searches", [pytest.param(400, marks=pytest.mark.slow), 15])
@pytest.mark.parametrize("trials", [9, 20])
@pytest.mark.parametrize("grid", ["drawn", "likely"])
def test_of_recorded_trials_the_best_is_hardly_ever_stopped(grid, trials, searches):
    scores = np.load(ROOT / f"benchmarks/search/{grid}.npz")["search"].astype(float)
    found = []
    for seed in range(searches):
        some = Stream(seed).at("some").numpy().choice(len(scores), trials, replace=False)
        found.append(stops_the_best(scores[some]))
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
    stopped = [t for t in raced if t.said()[-1].lost]
    assert stopped and run.count("failed") == 0
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "r/study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    told = optuna.load_study(study_name="planted", storage=storage).trials
    for trial in stopped:
        whole = trial.reports()
        assert whole, "the first report does not race"
        lost = trial.said()[-1]
        assert lost.lost == trial.outcome.detail and lost not in whole
        assert (trial.outcome.state, trial.outcome.score) == ("pruned", None)
        assert "of 40 tasks" in trial.outcome.detail
        assert [score for _, score in trial.curve] == [r.score for r in whole]
        assert list(told[trial.number].intermediate_values.values()) == [r.score for r in whole]
        assert told[trial.number].state.name == "PRUNED"
        assert told[trial.number].user_attrs["detail"] == trial.outcome.detail


def overtaken(folder: Path, origin: str = "given", **search: Any) -> list[Record]:
    """A slow trial and a better one that began after it, hand in hand."""
    tree = {"tasks": 40, "x": {"choice": [0.9, 0.1]}}
    racing = plan(tree, trials=2, pruner=NoPruner(), race=Racing(alpha=0.45, starters=1), **search)
    points = [Point({"x": x}, origin) for x in (0.9, 0.1)]
    backend = Hands(2, 10**6, [])
    return run_search(replace(racing, first=lambda: points), folder, backend=backend).run.trials


def test_a_trial_that_runs_is_overtaken_by_one_that_began_later(tmp_path):
    slow, fast = overtaken(tmp_path / "r")
    assert fast.outcome.state == "complete"
    assert (slow.outcome.state, slow.outcome.reason) == ("pruned", "race")
    assert slow.outcome.score is not None and slow.said()[-1].whole, "it was judged on all tasks"
    assert slow.outcome.detail.startswith(f"worse than {fast.info.name} on 40 of 40 tasks")


def test_references_run_to_their_ends(tmp_path):
    states = [t.outcome.state for t in overtaken(tmp_path / "r", "reference")]
    assert states == ["complete", "complete"]


def test_nobody_races_against_what_breaks_a_bound(tmp_path):
    bound = Constraint(score="cost", at_most=1.0)  # none of them tells its cost
    states = [t.outcome.state for t in overtaken(tmp_path / "r", constraints=(bound,))]
    assert states == ["complete", "complete"]


@pytest.mark.parametrize("apart", [1.0, 0.04], ids=["clear", "close"])
def test_a_search_that_races_goes_on_as_if_it_had_not_stopped(tmp_path, apart):
    tree = {"tasks": 40, "snapshots": True, "x": {"uniform": [0.0, apart]}}
    racing = plan(tree, trials=10, pruner=NoPruner(), race=Racing(starters=2))
    carried, one = [], []
    whole = run_search(racing, tmp_path / "whole", backend=Hands(1, 10**6, one)).run
    assert any(told["report"]["step"] < 400 and over for _, told, over in one), "somebody waits"
    sittings = 0
    while sittings == 0 or open_run(tmp_path / "again").state != "finished":
        sittings += 1
        with contextlib.suppress(PowerCut):
            run_search(racing, tmp_path / "again", backend=Hands(1, 5, carried))
    again = open_run(tmp_path / "again")
    assert sittings > 3 and [t.info for t in again.trials] == [t.info for t in whole.trials]
    assert [t.outcome for t in again.trials] == [t.outcome for t in whole.trials]
    turns = [
        list(dict.fromkeys((number, told["report"]["step"]) for number, told, _ in some))
        for some in (one, carried)
    ]
    assert turns[0] == turns[1], "in the same order"


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


def test_samplers_that_breed_from_finished_trials_leave_a_race_out():
    text = FILE.format("mmd").replace("name: small, race: {}", "name: small, sampler: nsga2")
    assert Plan.of(SearchFile.from_yaml(text)).pace() is None
    assert Plan.of(SearchFile.from_yaml(text.replace("nsga2", "tpe"))).pace() is not None
    with pytest.raises(ConfigError, match=r"search\.race: nsga2 breeds from trials that finished"):
        SearchFile.from_yaml(text.replace("nsga2", "nsga2, race: {}"))


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"alpha": 1.0}, {"warmup": -1}, {"starters": 0}])
def test_settings_of_a_race_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Racing(**wrong)
