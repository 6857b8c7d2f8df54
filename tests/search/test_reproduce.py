"""A trial of a finished search, run again alone, says the same to the last digit."""

from __future__ import annotations

import dataclasses
import json

import pytest

from metasearch.errors import RunError
from metasearch.search.ledger import open_run
from metasearch.search.racing import Racing
from metasearch.search.reproduce import reproduce
from metasearch.search.run import run_search
from metasearch.search.stopping import NoPruner
from tests.search.plans import plan
from tests.search.planted import TRIAL
from tests.small import blobs_file, searched, trial


def test_a_trial_of_a_real_search_comes_out_the_same(tmp_path):
    tree = trial(blobs_file(tmp_path / "b.npz"), outer={"lr": {"uniform": [0.005, 0.02]}})
    run = searched(tmp_path / "run", tree, trials=3, pruner={"name": "median", "startup_trials": 1})
    before = set(run.folder.rglob("*"))
    for record in run.trials:
        found = list(reproduce(record, run.folder))
        assert [each.step for each in found] == [step for step, _ in record.curve]
        assert all(each.same for each in found)
    assert set(run.folder.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.ray
def test_ten_trials_of_a_parallel_search_with_a_race_come_out_the_same(tmp_path):
    tree = trial(blobs_file(tmp_path / "b.npz"), outer={"lr": {"log_uniform": [1e-4, 0.1]}},
                 budget={"gradients": 1200, "reports": 4, "tasks_per_step": 4})  # fmt: skip
    run = searched(tmp_path / "run", tree, trials=10, backend="ray", max_concurrent=2,
                   race={"starters": 2})  # fmt: skip
    assert len(run.trials) == 10 and run.state == "finished"
    for record in run.trials:
        found = list(reproduce(record, run.folder))
        assert [each.step for each in found] == [r.step for r in record.said()]
        assert all(each.same for each in found), record.info.name
    print(f"{sum(len(t.said()) for t in run.trials)} reports of 10 trials, all the same")  # noqa: T201


def test_what_was_seen_of_a_report_that_was_broken_off_is_compared(tmp_path):
    racing = plan({"tasks": 40}, trials=8, pruner=NoPruner(), race=Racing(starters=3))
    run = run_search(racing, tmp_path / "r", trial=TRIAL).run
    behind = next(t for t in run.trials if t.said()[0].behind)
    found = list(reproduce(behind, run.folder, TRIAL))
    assert [each.same for each in found] == [True] * len(behind.said())
    file = behind.folder / "reports.jsonl"
    first, *rest = file.read_text().splitlines()
    line = json.loads(first)
    line["per_task"]["03"] += 1e-3
    file.write_text("\n".join([json.dumps(line), *rest, ""]))
    assert not next(reproduce(behind, run.folder, TRIAL)).same


def test_another_score_in_the_last_digit_is_seen(tmp_path):
    run = run_search(plan(trials=1), tmp_path / "r", trial=TRIAL).run
    (record,) = run.trials
    file = record.folder / "reports.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[2]["score"] *= 1 + 2**-52
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [each.same for each in reproduce(record, run.folder, TRIAL)] == [True, True, False, True]


def test_a_trial_that_said_nothing_or_fails_now_is_told_so(tmp_path):
    run = run_search(
        plan({"end": {"name": "raise", "at": 3}}, trials=1), tmp_path / "r", trial=TRIAL
    ).run
    found = reproduce(run.trials[0], run.folder, TRIAL)
    assert next(found).same and next(found).same and not list(found)
    broken = dataclasses.replace(run.trials[0].info, config={"x": "none"})
    with pytest.raises(RunError, match="fails now"):
        next(reproduce(dataclasses.replace(run.trials[0], info=broken), run.folder, TRIAL))
    (run.trials[0].folder / "reports.jsonl").unlink()
    with pytest.raises(RunError, match="reported nothing"):
        next(reproduce(open_run(run.folder).trials[0], run.folder, TRIAL))
