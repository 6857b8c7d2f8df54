"""Looking at runs from the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from metasearch.search.lease import Lease, OnDisk
from metasearch.search.ledger import open_run

OF_RUN = {
    *("name", "folder", "state", "score", "trials", "best", "pruned", "failures"),
    *("stragglers", "elapsed_s", "time_s", "created_at", "versions"),
}
OF_TRIAL = {
    *("trial", "name", "state", "reason", "detail", "score", "low", "high", "step", "seconds"),
    *("error", "params"),
}
IN_FULL = OF_TRIAL | {
    *("folder", "asked_at", "done_at", "config", "curve", "behind", "before"),
    *("per_task", "traceback", "samples", "ran_on"),
}


@pytest.fixture
def found(planted):
    return open_run(planted)


def of_state(found, state):
    return next(t for t in found.trials if t.outcome.state == state)


def test_no_runs_are_none(cli):
    told = cli("list")
    assert (told.code, told.out) == (0, "")
    assert "metasearch quickstart" in told.err
    assert cli("list", "--json").json == []


def test_runs_are_listed(cli, planted, monkeypatch):
    shutil.copytree(planted, planted.with_name("again"))
    told = cli("list")
    assert [line.split()[0] for line in told.out.splitlines()] == ["run", "again", "planted"]
    assert "12/12" in told.out
    rows = cli("list", "--json").json
    assert [row["name"] for row in rows] == ["again", "planted"]
    assert set(rows[0]) == {"name", "folder", "state", "error", "done", "best", "begun"}
    monkeypatch.setenv("METASEARCH_HOME", str(planted.parents[1] / "elsewhere"))
    assert cli("list").out == ""


def test_a_damaged_run_is_listed_as_damaged(cli, planted):
    (planted / "manifest.json").write_text("{")
    (row,) = cli("list", "--json").json
    assert row["state"] == "damaged"
    assert "not JSON" in row["error"]
    assert "damaged" in cli("list").out


def test_the_status_counts_what_became_of_the_trials(cli, found):
    told = cli("status", "planted", "--json").json
    assert set(told) == OF_RUN
    assert told["state"] == "finished"
    assert told["trials"] == {
        "wanted": 12,
        "asked": 12,
        "complete": found.count("complete"),
        "pruned": found.count("pruned"),
        "failed": found.count("failed"),
        "open": 0,
    }
    assert set(told["best"]) == OF_TRIAL
    assert told["best"]["trial"] == found.best()[0].number
    (failure,) = told["failures"]
    assert failure["reason"] == "user"
    assert failure["count"] == found.count("failed")
    assert failure["example"] == "ValueError: planted fault"
    assert {entry["reason"] for entry in told["pruned"]} >= {"non_finite"}


def test_the_status_is_told_to_people(cli, found):
    told = cli("status", "planted")
    assert told.code == 0
    assert told.err == ""
    assert f"by {found.best()[0].info.name}" in told.out
    assert "ValueError: planted fault (trial" in told.out
    assert "distance, lower is better" not in told.out  # the unit of planted scores is empty
    assert "12 of 12 ended" in told.out
    failed = next(t for t in found.trials if t.outcome and t.outcome.state == "failed")
    assert f"show planted {failed.number}" in told.out


def test_a_running_trial_that_is_silent_for_long_is_named_with_its_machine(cli, found):
    silent, waits, unbegun = found.trials[-3:]
    for trial in (silent, waits, unbegun):
        (found.folder / "ledger" / f"{trial.number:04d}.done.json").unlink()
    before = time.time() - 3600
    for trial in (silent, waits):
        said = trial.folder / "reports.jsonl"
        lines = [json.loads(line) for line in said.read_text().splitlines()]
        lines = [{**line, "passed": "on" if trial is silent else "aside"} for line in lines]
        said.write_text("".join(json.dumps(line) + "\n" for line in lines))
        ran_on = trial.folder / "ran_on.jsonl"
        ran_on.write_text('{"host": "h2", "card": "A100"}\n')
        os.utime(ran_on, (before - 60, before - 60))
        os.utime(said, (before, before))
    shutil.rmtree(unbegun.folder)
    assert cli("status", "planted", "--json").json["stragglers"] == []  # nobody searches there
    lease = Lease.acquire(OnDisk(found.folder / "ledger"))
    (told,) = cli("status", "planted", "--json").json["stragglers"]
    assert (told["name"], told["ran_on"]) == (silent.info.name, "h2 A100")
    assert 3600 <= told["silent_s"] < 3700
    shown = cli("status", "planted").out
    assert f"{silent.info.name} on h2 A100: no report for 1:00:0" in shown
    os.utime(silent.folder / "reports.jsonl")
    assert cli("status", "planted", "--json").json["stragglers"] == []
    lease.release()


def test_a_run_is_found_by_its_path_too(cli, planted):
    assert cli("status", planted).out == cli("status", "planted").out


def test_an_unfinished_run_says_how_to_go_on(cli, planted):
    (planted / "ledger" / "0011.done.json").unlink()
    told = cli("status", "planted")
    assert "1 to be continued" in told.out
    assert "metasearch resume planted" in told.out


def test_an_unknown_run_is_refused_with_the_nearest(cli, planted):
    told = cli("status", "plantd")
    assert told.code == 2
    assert "Did you mean 'planted'?" in told.err


def test_watching_a_run_that_ended_ends(cli, planted):
    assert cli("status", "planted", "--watch").code == 0


def test_watching_goes_on_while_a_run_runs(cli, planted, monkeypatch):
    states = iter(["running", "running", "finished"])
    whole = open_run(planted)
    monkeypatch.setattr(
        "metasearch.search.ledger.open_run",
        lambda _: type(whole)(**{**vars(whole), "state": next(states)}),
    )
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    assert cli("status", "planted", "--watch").out.count("12 of 12 ended") == 3
    assert len(slept) == 2


def test_a_run_without_a_finished_trial_has_no_best(cli, planted, found):
    for trial in found.trials:
        (planted / "ledger" / f"{trial.number:04d}.done.json").unlink()
    told = cli("best", "planted")
    assert (told.code, told.out) == (0, "")
    assert "no trial of planted has finished" in told.err
    assert "no trial has finished yet" in cli("status", "planted").out


def test_a_run_is_shown_with_its_draws_and_trials(cli, found):
    told = cli("show", "planted", "--json").json
    assert set(told) == OF_RUN | {"search", "all_trials"}
    assert [row["trial"] for row in told["all_trials"]] == list(range(12))
    text = cli("show", "planted").out
    assert "uniform" in text
    assert all(trial.info.name in text for trial in found.trials)


def test_a_trial_is_shown_in_full(cli, found):
    trial = of_state(found, "complete")
    told = cli("show", "planted", trial.number, "--json").json
    assert set(told) == IN_FULL
    assert told["params"] == dict(trial.info.params)
    assert [point["score"] for point in told["curve"]] == [s for _, s in trial.curve]
    assert cli("show", "planted", trial.info.name, "--json").json == told
    text = cli("show", "planted", trial.number).out
    assert "without adaptation" in text
    assert "error" not in text


def test_a_failed_trial_is_shown_with_its_traceback(cli, found):
    trial = of_state(found, "failed")
    text = cli("show", "planted", trial.number).out
    assert "Traceback" in text
    assert "ValueError: planted fault" in text


def test_a_trial_that_diverged_is_shown_in_valid_json(cli, found):
    diverged = next(t for t in found.trials if t.outcome.reason == "non_finite")
    told = cli("show", "planted", diverged.number, "--json")
    assert "NaN" not in told.out
    assert told.json["curve"][-1]["score"] is None


@pytest.mark.parametrize("trial", ["99", "nobody", "-1"])
def test_an_unknown_trial_is_refused_with_what_there_is(cli, planted, trial):
    told = cli("show", "planted", "--", trial)
    assert told.code == 2
    assert "there are 0 to 11" in told.err


def test_a_run_without_pictures_for_tensorboard_says_so(cli, planted):
    told = cli("tensorboard", "planted")
    assert told.code == 2
    assert "nothing for TensorBoard yet" in told.err


@pytest.mark.slow
def test_tensorboard_is_served_until_ctrl_c(planted):
    (planted / "tensorboard").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "metasearch", "tensorboard", "planted", "--port", str(port)]
    with subprocess.Popen(
        words, cwd=planted.parents[1], stdout=subprocess.PIPE, text=True
    ) as served:
        assert served.stdout is not None
        try:
            link = served.stdout.readline().strip()
            assert link.startswith(f"http://127.0.0.1:{port}/")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/environment") as answer:
                assert "data_location" in json.load(answer)
        finally:
            served.send_signal(signal.SIGINT)
            assert served.wait(timeout=20) == 0


def test_a_trial_that_diverged_says_why_in_words(cli, planted):
    rows = cli("show", "planted", "--json").json["all_trials"]
    diverged = next(row["trial"] for row in rows if row["reason"] == "non_finite")
    told = cli("show", "planted", diverged).out
    assert "because" in told and "rates that are too large: see outer.lr" in told


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("status pl", {"planted"}),
        ("show planted 1", {"1", "10", "11"}),
        ("reproduce planted 3", {"3"}),
        ("show nowhere 1", set()),
        ("cluster render s", {"slurm", "ssh"}),
        ("comp", {"compare", "components"}),
    ],
)
def test_shells_complete_runs_trials_verbs_and_kinds(planted, cli, monkeypatch, typed, wanted):
    monkeypatch.setenv("_METASEARCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"metasearch {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    assert set(cli().out.split()) == wanted
