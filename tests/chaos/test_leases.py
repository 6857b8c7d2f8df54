"""Two drivers that want one run, a machine that falls silent, and a clock that was set back."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metasearch.search.ledger import open_run, read_records
from tests.chaos.history import Checker
from tests.chaos.lives import Nursery, nursery
from tests.search.driver import lines

pytestmark = pytest.mark.slow

TRIALS, REPORTS = 6, 3
REFUSED_S = 2.0
HOUR_S = 3600.0


@pytest.fixture(scope="module")
def cradles(tmp_path_factory) -> Iterator[tuple[Nursery, Nursery]]:
    place = tmp_path_factory.mktemp("nursery")
    (place / "other").mkdir()
    with nursery(place) as one, nursery(place / "other") as other:
        yield one, other


def _order(place: Path, pause: float = 0.01, **more: Any) -> dict[str, Any]:
    tree = {"account": str(place / "account"), "pause": pause, "snapshots": True,
            "reports": REPORTS}  # fmt: skip
    return {"folder": str(place / "run"), "space": tree, "told": str(place / "told"),
            "search": {"trials": TRIALS, "backend": "local"}, **more}  # fmt: skip


def _until_it_works(place: Path, n: int = 2) -> None:
    end = time.monotonic() + 60
    while len(lines(place / "account")) < n:
        assert time.monotonic() < end, "it does not begin"
        time.sleep(0.01)


def test_a_second_driver_is_told_who_has_the_run(cradles, tmp_path):
    one, other = cradles
    pid = one.begin(**_order(tmp_path, pause=60.0))
    _until_it_works(tmp_path, 1)
    began = time.monotonic()
    refused = other.live(**_order(tmp_path, pause=60.0))
    spent = time.monotonic() - began
    os.kill(pid, signal.SIGKILL)
    assert one.end().killed
    assert refused.code == 2 and len(refused.said.splitlines()) == 1
    assert f"process {pid} on {socket.gethostname()!r}" in refused.said
    print(f"second driver: refused in {spent:.2f} s, naming host and process")  # noqa: T201
    assert spent < REFUSED_S


def test_the_lease_of_a_silent_machine_is_taken_over_and_its_driver_fenced(cradles, tmp_path):
    one, other = cradles
    pid = one.begin(**_order(tmp_path, pause=0.2, host="elsewhere"))
    _until_it_works(tmp_path)
    named = other.live(**_order(tmp_path, pause=0.2))
    assert named.code == 2 and "on 'elsewhere'" in named.said, "it lives, so it is left alone"
    os.kill(pid, signal.SIGSTOP)  # as a machine that hangs
    began = time.monotonic()
    taken = other.live(**_order(tmp_path, pause=0.2, stale_s=2.0))
    spent = time.monotonic() - began
    assert (taken.code, taken.said) == (0, "trials")
    checker = Checker(tmp_path / "run", tmp_path / "account", tmp_path / "told")
    checker.look()
    os.kill(pid, signal.SIGCONT)
    late = one.end()
    assert late.code == 2 and "taken over by process" in late.said, late
    assert {t.number: t for t in read_records(tmp_path / "run")} == checker.done, "it wrote nothing"
    print(f"silent machine: taken over and ended in {spent:.1f} s, of them 2 s of watching; the old driver was fenced")  # noqa: T201 # fmt: skip


def test_a_clock_that_was_set_back_changes_nothing(cradles, tmp_path):
    one, _ = cradles
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for place in (whole, cut):
        place.mkdir()
    assert one.live(**_order(whole)).code == 0
    lives = 0
    while one.live(0.3 + lives / 10, **_order(cut, pause=0.1, clock_s=-HOUR_S * lives)).killed:
        lives += 1
    assert lives > 1, "nothing was cut"
    told = [
        [(t.info.params, t.outcome.score, t.curve) for t in open_run(place / "run").trials]
        for place in (whole, cut)
    ]
    assert told[0] == told[1]
    Checker(cut / "run", cut / "account", cut / "told").look()
    print(f"clock set back by an hour {lives} times: the same trials, scores and curves")  # noqa: T201
