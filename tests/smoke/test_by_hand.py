"""The scripts for plain machines: a search on two, and what a third one that nobody asked sees."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metasearch import space
from metasearch.cluster.token import make_token
from metasearch.search.ledger import open_run
from tests.small import blobs_file, trial
from tests.smoke.lab import Host, hosts, missing
from tests.smoke.stranger import RAYS, joins, places_of, sees_nothing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture
def up(tmp_path, monkeypatch) -> Iterator[tuple[list[Host], str, Path]]:
    """A head and a worker by the scripts, and a stranger on the same network; and the token."""
    monkeypatch.setenv("METASEARCH_TOKEN", str(tmp_path / "home" / ".metasearch" / "token"))
    token = make_token()[0].read_text()
    with hosts(tmp_path / "hosts", ("h1", "h2", "stranger")) as machines:
        head, worker, _ = machines
        for host in (head, worker):
            host.variables["HOME"] = str(tmp_path / "home")
        out = tmp_path / "cluster"
        head.run("metasearch", "cluster", "render", "bare", "-s", f"head={head.ip}", "--gpus", "2",
                 "--runs", str(tmp_path / "runs"), "-s", f"bin={Path(sys.executable).parent}",
                 "-o", str(out))  # fmt: skip
        (tmp_path / "head.log").write_text(head.run("bash", str(out / "start-head.sh")))
        (tmp_path / "worker.log").write_text(worker.run("bash", str(out / "start-worker.sh")))
        yield machines, token, out
        for host in (worker, head):
            host.run("bash", str(out / "stop.sh"), code=None)


def test_a_search_runs_on_machines_started_by_hand_and_strangers_see_nothing(up, tmp_path):
    (head, worker, stranger), token, _ = up
    address, runs = f"{head.ip}:6379", tmp_path / "runs"
    runs.mkdir()
    began = time.monotonic()
    told = head.run("metasearch", "cluster", "up-check", "--address", address, "--nodes", "2",
                    "--within", "3m", "--runs", str(runs), within_s=240)  # fmt: skip
    assert told.count("ok    ") >= 4 and "fail" not in told, told
    tree = {"trial": trial(blobs_file(tmp_path / "blobs.npz")), "search": {"trials": 4}}
    (tmp_path / "tiny.yaml").write_text(space.dump(tree))
    said = head.run("metasearch", "search", str(tmp_path / "tiny.yaml"), "--out", str(runs),
                    "--address", address, "--gpus-per-trial", "1", within_s=300)  # fmt: skip
    run = open_run(runs / "tiny")
    assert run.count("complete") == 4
    head.run("metasearch", "export", str(run.folder), "-o", str(tmp_path / "best"), within_s=200)
    print(f"by hand: up-check, 4 trials and export in {time.monotonic() - began:.0f} s")  # noqa: T201
    assert 6380 in sees_nothing(stranger, (head, worker), RAYS), "both are up"
    assert not joins(stranger, address)
    assert token not in said
    assert places_of(token, (head, worker), tmp_path) == []
