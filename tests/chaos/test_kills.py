"""Searches killed at random moments and between any two writes, held against a history of their own.

`make chaos` runs this room; each test prints how many kills it took and what they cost.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metasearch.rng import Stream
from metasearch.search.ledger import open_run
from tests.chaos.history import Checker, journal_of
from tests.chaos.lives import Nursery, nursery
from tests.chaos.wire import tearable
from tests.search.driver import launch, lines, wait_until

pytestmark = pytest.mark.slow

REPORTS = 6
SEED = 0
TASKS = 40
RANDOM_KILLS, PLACES, RAY_KILLS, RACE_KILLS = 100, 40, 16, 50


def _moments(purpose: str, low: float, high: float) -> Iterator[float]:
    """Waits that never end."""
    draw: np.random.Generator = Stream(SEED).at("kill", purpose).numpy()
    while True:
        yield float(draw.uniform(low, high))


def _tree(account: Path, pause: float, reports: int = REPORTS) -> dict[str, Any]:
    return {"account": str(account), "pause": pause, "snapshots": True, "reports": reports}


@pytest.fixture(scope="module")
def cradle(tmp_path_factory) -> Iterator[Nursery]:
    with nursery(tmp_path_factory.mktemp("nursery")) as found:
        yield found


class Search:
    """A search that lives as often as it takes, by the same order."""

    def __init__(self, place: Path, cradle: Nursery, reports: int = REPORTS, **search: Any) -> None:
        self._search = search
        self._cradle, self._reports = cradle, reports
        place.mkdir(exist_ok=True)
        folder, account, told = place / "run", place / "account", place / "told"
        self.checker = Checker(folder, account, told)
        tree = {**_tree(account, 0.01, reports), "pictures": True, "tasks": TASKS}
        self._order = {"folder": str(folder), "space": tree, "told": str(told)}

    def live(self, trials: int, after_s: float | None = None, **more: Any) -> bool:
        """Whether a life was cut short; what it left is looked at."""
        search = {"trials": trials, "backend": "local", **self._search}
        ended = self._cradle.live(after_s, **self._order, search=search, **more)
        assert ended.killed or (ended.code, ended.said) == (0, "trials"), ended
        self.checker.kills += ended.killed
        self.checker.look()
        return ended.killed

    def finish(self, trials: int) -> None:
        """The same order again, left alone, ends the search."""
        assert not self.live(trials)
        self.checker.whole(trials, self._reports)


def test_a_hundred_kills_at_random_moments_lose_nothing(cradle, tmp_path):
    search, moments = Search(tmp_path, cradle), _moments("local", 0.01, 0.6)
    trials = 10
    while search.checker.kills < RANDOM_KILLS:
        if not search.live(trials, next(moments)):
            trials += 5  # so that there is something to be killed
    search.finish(trials)
    print(f"{RANDOM_KILLS} kills at random moments: {trials} trials, 0 lost, 0 finished twice")  # noqa: T201


def test_a_kill_between_any_two_writes_loses_nothing(cradle, tmp_path):
    few = 3  # more than are kept
    whole = Search(tmp_path / "whole", cradle, few)
    passed = tmp_path / "passed"
    assert not whole.live(2, passed=str(passed))
    places = [*json.loads(passed.read_text())]
    deadly = [*places, *(f"torn {place}" for place in places if tearable(place))]
    assert len(deadly) >= PLACES
    kills = 0
    for i, place in enumerate(deadly):
        search = Search(tmp_path / str(i), cradle, few)
        assert search.live(2, deadly=place), f"nothing dies at: {place}"
        search.finish(2)
        search.live(4, deadly=place, nth=2)  # in a search that goes on
        search.finish(4)
        kills += search.checker.kills
    print(f"{kills} kills at {len(deadly)} places between two writes: 0 lost, 0 finished twice")  # noqa: T201


def _ends(folder: Path) -> list[Any]:
    """All that became of the trials of a search that is over."""
    run = open_run(folder)
    assert run.state == "finished"
    return [(t.info.params, t.outcome, t.curve, len(t.reports())) for t in run.trials]


def test_kills_of_a_search_that_races_leave_it_as_if_there_had_been_none(cradle, tmp_path):
    race, trials, moments = {"race": {"starters": 3}}, 12, _moments("race", 0.05, 0.6)
    whole = Search(tmp_path / "whole", cradle, **race)
    assert not whole.live(trials)
    expected = _ends(whole.checker.folder)
    assert {outcome.reason for _, outcome, *_ in expected} == {"finished", "race"}
    kills = searches = 0
    while kills < RACE_KILLS:
        search = Search(tmp_path / f"{searches}", cradle, **race)
        while search.live(trials, next(moments)):
            pass
        assert _ends(search.checker.folder) == expected
        assert not [t for t in journal_of(search.checker.folder) if t.state.name == "RUNNING"]
        kills, searches = kills + search.checker.kills, searches + 1
    print(f"{kills} kills of {searches} searches that race: each ended as one without")  # noqa: T201


@pytest.fixture(scope="module")
def standing_ray() -> Iterator[str]:
    """A Ray that outlives the searches in it."""
    import ray

    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    del os.environ["RAY_AUTH_TOKEN"]


def _kill(process: subprocess.Popen[str], after_s: float) -> bool:
    """Kill a search after a while; False if it ended before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=after_s)
        return False
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return True


@pytest.mark.ray
def test_kills_of_a_driver_with_trials_on_ray_lose_nothing(tmp_path, standing_ray):
    folder, account = tmp_path / "run", tmp_path / "account"
    checker, tree = Checker(folder, account), _tree(account, 0.1)
    how = {"backend": "ray", "max_concurrent": 2, "address": standing_ray}
    moments, trials = _moments("ray", 0.0, 2.0), 20
    while checker.kills < RAY_KILLS:
        process, seen = launch(folder, tree, **how, trials=trials), len(lines(account))
        if checker.kills % 3:  # of three kills two hit trials that run, and one whatever is there
            wait_until(lambda seen=seen: len(lines(account)) > seen, process)
        checker.kills += _kill(process, next(moments))
        checker.look()
        trials = len(checker.done) + 20
    process = launch(folder, tree, **how, trials=trials)
    assert process.communicate() == ("trials", "")
    checker.whole(trials, REPORTS, at_once=2)
    print(f"{RAY_KILLS} kills of a driver with Ray: {trials} trials, 0 lost, 0 finished twice")  # noqa: T201
