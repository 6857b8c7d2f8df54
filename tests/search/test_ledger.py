"""Records: written once, read without anything heavy, wherever the folder lies."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys

import pytest

from metasearch.errors import RunError
from metasearch.observe.base import Draw, Outcome, SearchInfo, TrialInfo
from metasearch.search.files import read_json
from metasearch.search.ledger import Ledger, open_run, read_records
from metasearch.search.manifest import describe
from metasearch.trial.report import Cost, Report


def a_report(step=100, score=0.5):
    return Report(
        step=step, final=False, cost=Cost(step, 1, 0.1), score=score, low=0.4, high=0.6, before=1.0,
        per_task={"a": score, "b": 0.5}, scalars={"loss/x": score},
    )  # fmt: skip


def info(folder, **changes):
    draws = [
        Draw("m", "choice", options=("a", None, 2)),
        Draw("m.a.x", "uniform", low=0.0, high=1.0, only_if=(("m", "a"),)),
    ]
    given = {"trials": 3, "time_s": None, "direction": "minimize", **changes}
    return SearchInfo(name="s", folder=folder, score="d", unit="nats", draws=draws, **given)


def a_run(folder, outcomes, **changes):
    """A run folder of which `outcomes` gives what became of each trial; None: it is open."""
    ledger = Ledger(folder)
    manifest = {"format": 1, "versions": {"metasearch": "9.9"}}
    ledger.write_manifest({**manifest, "search": describe(info(folder, **changes))})
    for number, outcome in enumerate(outcomes):
        trial = TrialInfo(number, f"{number:04d}-x", {"x": number}, {"x": number, "y": None})
        ledger.asked(trial, sampler_seed=number)
        (folder / "trials" / trial.name).mkdir(parents=True)
        ledger.reported(trial, a_report())
        if outcome:
            ledger.done(trial, outcome, ((100, 0.5), (200, math.nan)), a_report(200), {"rung": 1})
    return ledger


def done(score, state="complete"):
    return Outcome(state, "finished", score=score, low=0.0, high=1.0, step=200, seconds=2.5)


def test_what_was_written_is_read_back(tmp_path):
    a_run(tmp_path / "r", [done(0.5), None]).close()
    run = open_run(tmp_path / "r")
    assert run.info == info(tmp_path / "r")
    first, second = run.trials
    assert first.info == TrialInfo(0, "0000-x", {"x": 0}, {"x": 0, "y": None})
    assert (first.outcome, first.notes) == (done(0.5), {"rung": 1})
    assert first.curve[0] == (100, 0.5) and math.isnan(first.curve[1][1])
    assert second.outcome is None and second.number == 1
    assert second.reports() == [a_report()]


def test_numbers_that_are_not_finite_come_back_as_nan(tmp_path):
    ledger = a_run(tmp_path / "r", [None])
    record = read_records(tmp_path / "r")[0]
    ledger.reported(record.info, a_report(200, math.nan))
    report = record.reports()[-1]
    assert math.isnan(report.score) and math.isnan(report.per_task["a"])
    assert math.isnan(report.scalars["loss/x"]) and report.per_task["b"] == 0.5


def test_where_a_trial_was_told_to_go_on_is_known(tmp_path):
    ledger = a_run(tmp_path / "r", [None])
    record = read_records(tmp_path / "r")[0]
    assert record.answered() == (0, False), "it reported, and nobody answered"
    ledger.reported(record.info, a_report(200))
    assert record.answered() == (100, False), "or it would not have reported again"
    ledger.reported(record.info, a_report(300), "on")
    assert record.answered() == (300, False)
    ledger.reported(record.info, a_report(400), "aside")
    assert record.answered() == (400, True)
    ledger.reported(record.info, a_report(500), "on")
    assert record.answered() == (500, False)
    assert record.reports() == [a_report(step) for step in (100, 200, 300, 400, 500)]


def test_a_folder_may_move(tmp_path):
    a_run(tmp_path / "r", [done(0.5)]).close()
    shutil.move(tmp_path / "r", tmp_path / "elsewhere")
    run = open_run(tmp_path / "elsewhere")
    assert run.trials[0].reports() == [a_report()]
    assert run.info.folder == tmp_path / "elsewhere"
    texts = [p.read_text() for p in run.folder.rglob("*") if p.is_file() and p.name != "lease.json"]
    assert not any(str(tmp_path) in text for text in texts)


@pytest.mark.parametrize(
    ("outcomes", "changes", "state"),
    [
        ([done(1.0)] * 3, {}, "finished"),
        ([done(1.0)] * 2, {}, "stopped"),
        ([done(1.0), done(1.0), None], {}, "stopped"),
        ([done(1.0)], {"time_s": 0.0}, "finished"),
        ([None], {"time_s": 0.0}, "stopped"),
        ([done(1.0)], {"time_s": 9e9}, "stopped"),
    ],
)
def test_the_state_says_whether_a_search_can_go_on(tmp_path, outcomes, changes, state):
    ledger = a_run(tmp_path / "r", outcomes, **changes)
    assert open_run(tmp_path / "r").state == "running"
    ledger.close()
    assert open_run(tmp_path / "r").state == state


@pytest.mark.parametrize(("direction", "order"), [("minimize", [2, 0, 3]), ("maximize", [0, 3, 2])])
def test_the_best_are_finished_ones_in_order_and_of_equals_the_earlier(tmp_path, direction, order):
    outcomes = [
        done(5.0), done(-9.0, "pruned"), done(1.0), done(5.0), Outcome("failed", "user"), None,
    ]  # fmt: skip
    a_run(tmp_path / "r", outcomes, direction=direction).close()
    run = open_run(tmp_path / "r")
    assert [trial.number for trial in run.best(10)] == order
    assert [trial.number for trial in run.best()] == order[:1]
    assert [run.count(state) for state in ("complete", "pruned", "failed")] == [3, 1, 1]


def test_ten_thousand_trials_come_in_order(tmp_path):
    folder = tmp_path / "ledger"
    folder.mkdir()
    for number in range(10_002):
        record = {"name": "x", "params": {}, "config": {}, "asked_at": 0.0}
        (folder / f"{number:04d}.asked.json").write_text(json.dumps(record))
    assert [r.number for r in read_records(tmp_path)] == list(range(10_002))


def test_an_end_that_is_taken_back_while_it_is_read_leaves_an_open_trial(tmp_path, monkeypatch):
    a_run(tmp_path / "r", [done(0.5), done(0.4)]).close()

    def late(path):  # its name was listed, and the search that goes on has moved the file away
        if path.name == "0001.done.json":
            path.unlink()
        return read_json(path)

    monkeypatch.setattr("metasearch.search.ledger.read_json", late)
    first, second = open_run(tmp_path / "r").trials
    assert first.outcome is not None and second.outcome is None


def test_a_missing_record_is_named(tmp_path):
    a_run(tmp_path / "r", [done(0.1), done(0.2), done(0.3)]).close()
    (tmp_path / "r/ledger/0001.asked.json").unlink()
    with pytest.raises(RunError, match=r"0001\.asked\.json is missing, but 0002"):
        open_run(tmp_path / "r")
    (tmp_path / "r/ledger/0002.asked.json").unlink()
    with pytest.raises(RunError, match=r"0001\.done\.json has no record"):
        open_run(tmp_path / "r")


def test_other_folders_and_other_formats_are_refused(tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        open_run(tmp_path)
    a_run(tmp_path / "r", [])
    text = (tmp_path / "r/manifest.json").read_text().replace('"format":1', '"format":7')
    (tmp_path / "r/manifest.json").write_text(text)
    with pytest.raises(RunError, match=r"format 7; this version reads 1\. Use metasearch 9\.9"):
        open_run(tmp_path / "r")


def _asked(**changes) -> str:
    sound = {"name": "0000-x", "params": {"x": 0.5}, "config": {}, "asked_at": 1.0}
    return json.dumps(sound | changes)


def _report(seconds=0.1, **changes) -> str:
    made = Report(100, False, Cost(1, 1, seconds), 0.5, 0.0, 0.0, 0.0, {}, {}).to_data()
    return json.dumps(made | changes) + "\n"


def _done(notes) -> str:
    outcome = {"state": "pruned", "reason": "race"}
    return json.dumps({"outcome": outcome, "done_at": 1.0, "curve": [], "notes": notes})


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ledger/0000.done.json", _done([1]), "TypeError: notes"),
        ("ledger/0000.done.json", _done({"race:behind": ["1", 0.5]}), "ValueError: notes"),
        ("ledger/0000.done.json", _done({"race:behind": [1]}), "ValueError"),
        ("ledger/0000.done.json", _done({"race:behind": [0, 0.5]}), "ValueError: notes"),
        ("ledger/0000.done.json", _done({"race:behind": None}), "TypeError"),
        ("ledger/0000.asked.json", _asked(notes={"race:behind": 5}), "TypeError"),
        ("ledger/0000.done.json", _done({"race:behind": [1, None]}), "ValueError: notes"),
        ("manifest.json", '{"format": 1}', "KeyError: 'search'"),
        ("manifest.json", '{"format": 1, "search": {"draws": 1}}', "TypeError"),
        ("ledger/0000.asked.json", '{"name": "0000-x"}', "KeyError: 'params'"),
        ("ledger/0000.done.json", "{}", "KeyError: 'outcome'"),
        ("ledger/0000.done.json", '{"outcome": {"mood": "good"}}', "ConfigError: .*'mood'"),
        ("ledger/0000.asked.json", _asked(params={"x": {"a": 1}}), "ValueError: params.x is"),
        (
            "ledger/0000.asked.json",
            _asked(params={"m.a.x": "far"}),
            "ValueError: .*drawn as a number",
        ),
        ("ledger/0000.asked.json", _asked(params=[1]), "ConfigError: trial.params: expected a"),
        ("ledger/0000.asked.json", _asked(asked_at=10**400), "OverflowError"),
        (
            "ledger/0000.done.json",
            '{"outcome": {"state": "complete", "reason": "", "score": {}}}',
            "ConfigError: outcome.score",
        ),
        ("trials/0000-x/reports.jsonl", "torn\n", "JSONDecodeError"),
        ("trials/0000-x/reports.jsonl", "{}\n", "KeyError"),
        ("trials/0000-x/reports.jsonl", _report(behind="b", final=True), "ValueError: behind"),
        ("trials/0000-x/reports.jsonl", _report(behind="b", score=None), "ValueError: behind"),
        ("trials/0000-x/reports.jsonl", _report(behind=3), "ValueError: one of step"),
        ("trials/0000-x/reports.jsonl", _report(seconds=math.nan), "ValueError: cost.seconds"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, text, why):
    a_run(tmp_path / "r", [done(0.5)]).close()
    (tmp_path / "r" / name).write_text(text)
    with pytest.raises(RunError, match=rf"r/{name}: damaged \({why}.*Restore the file from a copy"):
        open_run(tmp_path / "r").trials[0].reports()


def test_nothing_is_written_once_the_lease_is_lost(tmp_path):
    ledger = a_run(tmp_path / "r", [None])
    lease = tmp_path / "r/ledger/lease.json"
    lease.write_text(lease.read_text().replace('"fence": 1', '"fence": 2'))
    trial = read_records(tmp_path / "r")[0].info
    for write in (
        lambda: ledger.asked(TrialInfo(1, "0001", {}, {}), 0),
        lambda: ledger.reported(trial, a_report(200)),
        lambda: ledger.done(trial, done(1.0), (), None, {}),
        lambda: ledger.write_manifest({}),
    ):
        with pytest.raises(RunError, match="taken over"):
            write()
    (record,) = read_records(tmp_path / "r")
    assert record.outcome is None and len(record.reports()) == 1


def test_reading_needs_neither_torch_nor_ray_nor_optuna(tmp_path):
    a_run(tmp_path / "r", [done(0.5)]).close()
    code = (
        "import sys; from pathlib import Path; from metasearch.search.ledger import open_run;"
        "assert open_run(Path(sys.argv[1])).best()[0].outcome.score == 0.5;"
        "print([m for m in ('torch', 'ray', 'optuna', 'pydantic') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "r")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
