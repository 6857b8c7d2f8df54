"""Kills at random moments, and a history that knows nothing of the ledger to check it by.

`make chaos` runs this room; every test says which seed its moments come from.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from metasearch.rng import Stream
from metasearch.search.ledger import open_run, read_records
from tests.search.driver import launch, lines, wait_until
from tests.search.planted import STRIDE

pytestmark = pytest.mark.slow

REPORTS = 6
SEED = 0


class Checker:
    """Looks at a run folder after each kill, and remembers what it promised before."""

    def __init__(self, folder: Path, account: Path) -> None:
        self.folder, self.account = folder, account
        self.done: dict[int, Any] = {}  # records that were there after some kill
        self.kills = 0

    def look(self) -> None:
        """Nothing that finished is lost or changed, and nothing that finished runs again."""
        now = self._records()
        assert {n: now.get(n) for n in self.done} == self.done, f"lost or changed, seed {SEED}"
        finished = {t.info.params["x"]: t for t in self.done.values()}
        again = {x for x, *_ in lines(self.account)[self._seen() :]} & set(finished)
        assert not again, f"ran again after its end, seed {SEED}"
        self.done, self._marks = now, len(lines(self.account))

    _marks = 0

    def _seen(self) -> int:
        return self._marks

    def _records(self) -> dict[int, Any]:
        if not self.folder.exists():
            return {}
        return {t.number: t for t in read_records(self.folder) if t.outcome}

    def whole(self, trials: int) -> None:
        """The search came to its end, as one that nobody killed."""
        self.look()
        run = open_run(self.folder)
        assert run.state == "finished" and len(run.trials) == trials
        assert Counter(t.outcome.state for t in run.trials) == {"complete": trials}
        for trial in run.trials:
            expected = [STRIDE * made for made in range(1, REPORTS + 1)]
            assert [step for step, _ in trial.curve] == expected
            assert [report.step for report in trial.reports()] == expected
        made = Counter((x, k) for x, what, k, _ in lines(self.account) if what != "began")
        assert {x for x, k in made if k == REPORTS} == {t.info.params["x"] for t in run.trials}
        # With a snapshot at each report, a kill costs each trial that ran at most one of them.
        assert sum(made.values()) - len(made) <= 2 * self.kills
        told = _journal(self.folder)
        assert Counter(t.state.name for t in told) == {"COMPLETE": trials}
        assert [len(t.intermediate_values) for t in told] == [REPORTS] * trials


def _journal(folder: Path) -> list[optuna.trial.FrozenTrial]:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name="planted", storage=storage).trials


def _moments(purpose: str, low: float, high: float, n: int) -> np.ndarray:
    return Stream(SEED).at("kill", purpose).numpy().uniform(low, high, size=n)


def _tree(account: Path, pause: float) -> dict[str, Any]:
    return {"account": str(account), "pause": pause, "snapshots": True, "reports": REPORTS}


def _kill(process: subprocess.Popen[str], after_s: float) -> bool:
    """Kill a search after a while; False if it ended before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=after_s)
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return True


@pytest.fixture(scope="module")
def standing_ray() -> Iterator[str]:
    """A Ray that outlives the searches in it."""
    import ray

    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    del os.environ["RAY_AUTH_TOKEN"]


def _driver_kills(tmp_path: Path, kills: int, waits_s: tuple[float, float], **how: Any) -> None:
    folder, account = tmp_path / "run", tmp_path / "account"
    checker, tree = Checker(folder, account), _tree(account, 0.1)
    for moment in _moments(how["backend"], *waits_s, kills):
        trials = len(checker.done) + 20  # so that each kill hits a search that runs
        checker.kills += _kill(launch(folder, tree, **how, trials=trials), moment)
        checker.look()
    process = launch(folder, tree, **how, trials=trials)
    assert process.communicate() == ("trials", "")
    assert checker.kills == kills
    checker.whole(trials)


def test_thirty_kills_of_a_driver_that_runs_its_trials_itself(tmp_path):
    _driver_kills(tmp_path, 30, (0.8, 3.0), backend="local")


@pytest.mark.ray
def test_eight_kills_of_a_driver_with_trials_on_ray(tmp_path, standing_ray):
    how = {"backend": "ray", "max_concurrent": 2, "address": standing_ray}
    _driver_kills(tmp_path, 8, (3.0, 8.0), **how)


@pytest.mark.ray
def test_twelve_kills_of_workers_under_a_driver_that_goes_on(tmp_path, standing_ray):
    folder, account, trials = tmp_path / "run", tmp_path / "account", 24
    checker = Checker(folder, account)
    how = {"backend": "ray", "max_concurrent": 2, "address": standing_ray, "retries": 99}
    process = launch(folder, _tree(account, 0.3), trials=trials, **how)
    for moment in _moments("workers", 0.2, 1.5, 12):
        time.sleep(moment)
        seen = len(lines(account))
        wait_until(lambda seen=seen: len(lines(account)) > seen, process)
        os.kill(lines(account)[-1][-1], signal.SIGKILL)  # whoever just said that it works
        checker.kills += 1
        checker.look()
    assert process.communicate() == ("trials", "")
    assert checker.kills == 12
    checker.whole(trials)
