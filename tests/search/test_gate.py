"""Who would have to wait after its first report is not judged on all tasks, and is told apart."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from metasearch.rng import Stream
from metasearch.search.config import Constraint
from metasearch.search.firsts import Firsts
from metasearch.search.journal import seen_of
from metasearch.search.pace import Pace
from metasearch.search.racing import Bar, Gate, Hurdles, Racing
from metasearch.search.reproduce import reproduce
from metasearch.search.run import run_search
from metasearch.search.stopping import NoPruner
from metasearch.trial.report import Cost, Report
from tests.search.driver import lines
from tests.search.plans import plan
from tests.search.planted import TRIAL
from tests.search.test_outcomes import journal


def test_a_gate_says_after_the_first_lot_who_is_behind_and_what_it_will_come_to():
    hard = Stream(0).at("hard").numpy().normal(size=30)
    goal = {f"{i:02d}": float(50 + 20 * h) for i, h in enumerate(hard)}
    gate = Gate("0003", 1.0, 0.05, 100, goal)
    mine = {task: score + 2 + 0.01 * i for i, (task, score) in enumerate(goal.items())}
    first = dict(list(mine.items())[::3])
    halt = gate(100, first, 3)
    assert halt.behind.startswith("behind 0003 on 10 of 30 tasks, p ") and not halt.lost
    assert halt.score == pytest.approx(np.mean(list(mine.values())), abs=0.05)
    assert abs(halt.score - np.mean(list(first.values()))) > 1, "tasks are not equally hard"
    assert gate(200, first, 3) is None, "at the first report alone"
    assert gate(100, dict(list(mine.items())[:20]), 3) is None, "after the first lot alone"
    assert gate(100, mine, 1) is None, "there is nothing to be saved"
    assert gate(100, first | {"00": math.inf}, 3) is None, "how bad it is, all tasks say"
    assert gate(100, {task: goal[task] for task in first}, 3) is None
    assert gate(100, dict.fromkeys((f"x{i}" for i in range(10)), 99.0), 3) is None, "of other tasks"
    high = replace(gate, sign=-1.0)
    assert high(100, first, 3) is None
    worse = {task: goal[task] - 2 for task in first}
    assert high(100, worse, 3).score == pytest.approx(np.mean(list(goal.values())) - 2)


def test_hurdles_travel_as_json_and_who_lost_is_not_only_behind():
    goal = {f"{i}": 6.0 + i / 7 for i in range(30)}
    bar, gate = Bar("0003", 1.0, 0.05, goal, {100: 0.1}), Gate("0004", 1.0, 0.05, 100, goal)
    for hurdles in (Hurdles(bar, gate), Hurdles(bar), Hurdles(None, gate), Hurdles()):
        assert Hurdles.of_data(json.loads(json.dumps(hurdles.to_data()))) == hurdles
    first = {f"{i}": 3 * goal[f"{i}"] for i in range(0, 30, 3)}
    assert Hurdles(bar, gate)(100, first, 3).lost and Hurdles(None, gate)(100, first, 3).behind
    assert Hurdles(bar)(200, first, 3) is Hurdles()(100, first, 3) is None


@pytest.mark.parametrize("starters", [1, 2, 3, 8])
def test_the_rival_is_the_worst_of_those_who_would_go_on(starters):
    """Held against all of them, sorted anew."""
    rng = Stream(starters).at("firsts").numpy()
    firsts, costs, shown = Firsts(starters), {}, set()
    for i in range(120):
        name, cost = f"{i}", float(rng.integers(40))
        would = [cost for _, cost in sorted((c, c) for c in costs.values())]
        go_on = max(1, (len(costs) + 1) // starters)
        known = [
            (costs[n], n) for n in shown if go_on <= len(costs) and costs[n] >= would[go_on - 1]
        ]
        assert firsts.rival == min(known, default=(0, ""))[1]
        firsts.add(name, cost)
        firsts.add(name, cost - 99)
        costs[name] = cost
        better = sum(other < cost for other in costs.values())
        assert firsts.is_early(name) == (better >= len(costs) // starters)
        for other in rng.choice(list(costs), 2):
            firsts.show(other)
            firsts.show(other)
            shown.add(other)
        if i % 3 == 0:
            firsts.hide(gone := str(rng.choice(list(costs))))
            shown.discard(gone)
    assert len(shown) > 20


def test_who_would_wait_is_not_judged_further_and_no_score_comes_of_it(tmp_path):
    tree = {"tasks": 40, "snapshots": True, "account": str(tmp_path / "account")}
    racing = plan(tree, trials=14, pruner=NoPruner(), race=Racing(starters=3))
    run = run_search(racing, tmp_path / "r", trial=TRIAL).run
    part = {t.number: t.said()[0] for t in run.trials if t.said()[0].behind}
    told, more = journal(tmp_path / "r"), [n for n in part if len(run.trials[n].said()) > 1]
    assert len(part) > 3 and more, "some went on later"
    for number, report in part.items():
        trial = run.trials[number]
        assert (report.step, report.final, len(report.per_task)) == (100, False, 8)
        x = trial.info.params["x"]
        assert report.score == pytest.approx(x + 0.75, abs=0.06), "what the whole would have been"
        assert trial.behind == (1, report.score)
        assert trial.curve == tuple((r.step, r.score) for r in trial.said() if r.whole)
        assert 1 not in told[number].intermediate_values
        values = {s // 100: score for s, score in trial.curve}
        assert told[number].intermediate_values == values
        if len(trial.said()) == 1:
            assert (trial.outcome.state, trial.outcome.score) == ("pruned", None)
        first = seen_of(told[number], 1.0).costs[0]
        assert first == report.score, "the process that looks ahead is told"
    assert run.best()[0].info.params["x"] == min(t.info.params["x"] for t in run.trials)
    lines_of = [(x, n) for x, what, n, _ in lines(tmp_path / "account") if what == "well"]
    assert len(set(lines_of)) == len(lines_of), "who waited went on where it was"


def test_with_bounds_all_tasks_are_judged(tmp_path):
    bound = Constraint(score="cost", at_most=1.0)
    racing = plan(
        {"tasks": 40}, trials=14, pruner=NoPruner(), race=Racing(starters=3), constraints=(bound,)
    )
    run = run_search(racing, tmp_path / "r", trial=TRIAL).run
    assert not any(report.behind for trial in run.trials for report in trial.said())


def test_nobody_is_held_against_a_last_report_or_one_of_some_tasks():
    scores = {f"{i}": 5.0 for i in range(30)}
    some = dict(list(scores.items())[:10])

    def report(step, per_task, **more):
        score = float(np.mean(list(per_task.values())))
        made = Report(step, False, Cost(0, 0, 0.0), score, 0.0, 0.0, 0.0, per_task, {})
        return replace(made, **more)

    pace = Pace(Racing(), 1.0, reports=4)
    assert pace.gate("a") is None
    pace.reported("a", report(1, some, behind="behind"))
    assert pace.gate("b") is None, "of a it is not known how it did on the others"
    pace.reported("b", report(1, scores))
    assert pace.gate("c").rival == "b" and pace.gate("a") is None, "a is past its first report"
    pace.ended("b", [(1, 5.0)])
    assert pace.gate("c") is None, "its scores are not at hand"
    for reports, final in ((1, True), (2, False)):
        pace = Pace(Racing(), 1.0, reports)
        pace.reported("a", report(1, scores, final=final))
        assert bool(pace.gate("b")) == (not final)
    pace = Pace(Racing(warmup=1), 1.0, reports=4)
    pace.reported("a", report(1, scores))
    assert pace.gate("b") is None, "the first report does not count"
    pace.reported("a", report(2, scores))
    assert pace.gate("b").step == 2


def test_a_leader_that_was_not_judged_on_all_tasks_at_first_is_none_to_be_held_against_there():
    scores = {f"{i}": 5.0 for i in range(30)}

    def report(step, **more):
        return replace(
            Report(step, step == 4, Cost(0, 0, 0.0), 5.0, 0.0, 0.0, 0.0, scores, {}), **more
        )

    pace = Pace(Racing(starters=2), 1.0, reports=4)
    for name, most in {"a": 3, "b": 2}.items():
        for step in range(1, most + 1):
            pace.reported(name, report(step))
        pace.ended(name, [(step, 5.0) for step in range(1, most + 1)])
    pace.reported("leads", report(1, per_task=dict(list(scores.items())[:10]), behind="behind"))
    whole = [report(step) for step in (2, 3, 4)]
    for made in whole:
        pace.reported("leads", made)
    assert pace.finished("leads", [(r.step, r.score) for r in whole], lambda: whole)
    assert pace.gate("c") is None, "nobody's scores at a first report are at hand"
    assert list(pace.bar().gains) == [1, 2, 3, 4], "what may be gained, others have shown"


@pytest.mark.parametrize("warmup", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("reports", [1, 4])
def test_a_search_whose_trials_hardly_get_to_race_ends_and_goes_on(tmp_path, warmup, reports):
    tree = {"tasks": 40, "reports": reports, "snapshots": True}
    for trials in (8, 12):
        racing = plan(
            tree, trials=trials, race=Racing(warmup=warmup, starters=2), pruner=NoPruner()
        )
        run = run_search(racing, tmp_path / "r", trial=TRIAL).run
        assert len(run.trials) == trials and run.state == "finished"
        said = [report for trial in run.trials for report in trial.said()]
        assert all(
            report.step == 100 * (warmup + 1) < 100 * reports for report in said if report.behind
        )
    assert any(report.behind for report in said) == (warmup + 1 < reports)


def test_reproducing_shows_the_means_of_what_was_judged(tmp_path):
    racing = plan({"tasks": 40}, trials=8, pruner=NoPruner(), race=Racing(starters=3))
    run = run_search(racing, tmp_path / "r", trial=TRIAL).run
    record = next(t for t in run.trials if t.said()[0].behind)
    first, *_ = reproduce(record, run.folder, TRIAL)
    then, now = first.scores
    assert then == pytest.approx(np.mean(list(record.said()[0].per_task.values())), rel=1e-12)
    assert then == now != first.before.score
