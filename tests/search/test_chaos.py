"""Kills at random moments, and an account that knows nothing of the ledger."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

from metasearch.rng import Stream
from metasearch.search.ledger import open_run, read_records
from tests.search.driver import launch, lines
from tests.search.planted import STRIDE

TRIALS, REPORTS = 24, 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "waits_s"),
    [("local", (0.3, 3.0)), pytest.param("ray", (3.0, 15.0), marks=pytest.mark.ray)],
)
def test_no_kill_loses_doubles_or_changes_a_finished_trial(kind, waits_s, tmp_path):
    folder, account = tmp_path / "run", tmp_path / "account"
    tree = {"account": str(account), "pause": 0.05, "snapshots": True, "reports": REPORTS}
    how: dict[str, Any] = {"trials": TRIALS, "backend": kind, "max_concurrent": 2}
    moments = Stream(0).at("kill", kind).numpy().uniform(*waits_s, size=8)
    finished: dict[int, Any] = {}
    for moment in moments:
        process = launch(folder, tree, **how)
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        now = {t.number: t for t in _records(folder) if t.outcome}
        assert {number: now.get(number) for number in finished} == finished
        finished = now
    process = launch(folder, tree, **how)
    assert process.communicate() == ("trials", "")
    _check(folder, account, finished)


def _records(folder: Path) -> Any:
    return read_records(folder) if folder.exists() else []


def _check(folder: Path, account: Path, finished: dict[int, Any]) -> None:
    run = open_run(folder)
    assert run.state == "finished"
    assert {number: run.trials[number] for number in finished} == finished
    assert [trial.outcome.state for trial in run.trials] == ["complete"] * TRIALS
    for trial in run.trials:
        assert [step for step, _ in trial.curve] == [STRIDE * i for i in range(1, REPORTS + 1)]
    ran = Counter(x for x, what, made, _ in lines(account) if what == "well" and made == REPORTS)
    assert set(ran) == {trial.info.params["x"] for trial in run.trials}
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    told = optuna.load_study(study_name="planted", storage=storage).trials
    assert Counter(t.state.name for t in told) == {"COMPLETE": TRIALS}
