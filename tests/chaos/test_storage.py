"""Disks and buckets that fail at random moments of a search.

Disks fill up, become read-only or are denied: that needs root, for small file systems of its own,
and is skipped elsewhere. A bucket refuses, or breaks connections before or after a request.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metasearch.rng import Stream
from metasearch.search.home import looked_at
from metasearch.search.ledger import open_run
from tests.search.driver import launch, lines
from tests.stores import BUCKET, reached, serving

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="NOT RUN: faults of disks need root, mount and setpriv",
)

TRIALS, REPORTS, SEED = 4, 4, 0
HITS = (
    17  # faults of a kind that a search has to meet: of three kinds, fifty of disks and of buckets
)
TURNS = 3 * HITS  # at most, for some searches are over before the fault
MOMENTS = TRIALS * REPORTS
OF_ROOT = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
"""Root as anybody else: what a folder's mode forbids is forbidden."""


Process = subprocess.Popen[str]
Mend = Callable[[], object]


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, process: Process) -> Mend:
    ballast = disk / "ballast"
    size = 2**20
    with ballast.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:  # full, for pieces of this size
                size //= 2
    return ballast.unlink


def limit(disk: Path, process: Process) -> Mend:
    """Whatever the process writes to a file is refused, files that are open among them."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))
    return lambda: None


def deny(disk: Path, process: Process) -> Mend:
    folders = [Path(place) for place, *_ in os.walk(disk)][1:]
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):  # the search goes on, and clears up
            folder.chmod(0o500)

    def allow() -> None:
        for folder in filter(Path.exists, folders):
            folder.chmod(0o700)

    return allow


@as_root
@pytest.mark.parametrize("harm", [fill, limit, deny], ids=lambda harm: harm.__name__)
def test_a_search_without_storage_says_so_and_goes_on_once_there_is_some(disk, tmp_path, harm):
    codes: Counter[int] = Counter()
    for turn in range(TURNS):
        folder, account = disk / "run", tmp_path / f"account-{turn}"
        tree = {"account": str(account), "reports": REPORTS, "snapshots": True, "pause": 0.02}
        how = {"trials": TRIALS, "backend": "local", "seed": turn}
        moment = int(Stream(SEED).at(harm.__name__, turn).numpy().integers(1, MOMENTS))
        process = launch(folder, tree, before=OF_ROOT, **how)
        while len(lines(account)) < moment and process.poll() is None:
            time.sleep(0.002)
        mend = harm(disk, process)
        out, told = process.communicate(timeout=120)
        codes[process.returncode] += 1
        if process.returncode == 0:  # it was over before the fault
            assert out == "trials"
        else:
            assert process.returncode == 4, told
            assert len(told.splitlines()) == 1 and str(disk) in told, told
        mend()
        again = launch(folder, tree, before=OF_ROOT, **how)
        assert again.communicate(timeout=120) == ("trials", "")
        run = open_run(folder)
        assert [t.outcome.state for t in run.trials if t.outcome] == ["complete"] * TRIALS
        ended = Counter(
            x for x, what, made, _ in lines(account) if made == REPORTS and what == "well"
        )
        assert set(ended) == {t.info.params["x"] for t in run.trials}
        shutil.rmtree(folder)
        if codes[4] == HITS:
            break
    print(f"{harm.__name__}: {codes[4]} faults of {turn + 1} hit, each told in a line with exit 4")  # noqa: T201
    assert codes[4] == HITS


@as_root
def test_a_search_that_finds_its_disk_read_only_says_so_and_goes_on_later(disk, tmp_path):
    for turn in range(3):
        folder, account = disk / "run", tmp_path / f"account-{turn}"
        tree = {"account": str(account), "reports": REPORTS, "snapshots": True, "pause": 0.02}
        how = {"trials": TRIALS, "backend": "local", "seed": turn}
        process = launch(folder, tree, **how)
        while len(lines(account)) < 3 * turn and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        process.communicate()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        refused = launch(folder, tree, **how)
        _, told = refused.communicate(timeout=120)
        assert refused.returncode == 4, told
        assert len(told.splitlines()) == 1 and str(disk) in told, told
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert launch(folder, tree, **how).communicate(timeout=120) == ("trials", "")
        shutil.rmtree(folder)


REQUESTS = 90  # about as many as such a search makes of a bucket
FATES = ("500", "reset", "lost")


@pytest.mark.parametrize("fate", FATES)
def test_a_search_whose_bucket_fails_says_so_and_goes_on_on_another_machine(
    tmp_path, monkeypatch, fate
):
    codes: Counter[int] = Counter()
    with serving() as store, reached(store, monkeypatch):
        for turn in range(TURNS):
            run, account = f"s3://{BUCKET}/runs/{turn}", tmp_path / f"account-{turn}"
            tree = {"account": str(account), "reports": REPORTS, "snapshots": True, "pause": 0.01}
            how = {"trials": TRIALS, "backend": "local", "seed": turn}
            last = int(Stream(SEED).at(fate, turn).numpy().integers(1, REQUESTS))
            monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / f"here-{turn}"))
            store.requests.clear()
            store.fault = lambda request, last=last: fate if len(store.requests) > last else ""
            process = launch(Path(run), tree, **how)
            out, told = process.communicate(timeout=120)
            codes[process.returncode] += 1
            if process.returncode == 0:  # only the lease could not be given back
                assert out == "trials"
            else:
                assert process.returncode == 4, told
                assert len(told.splitlines()) == 1 and run in told, told
            store.fault = lambda request: ""
            monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / f"there-{turn}"))
            assert launch(Path(run), tree, **how).communicate(timeout=120) == ("trials", "")
            trials = open_run(looked_at(run)).trials
            assert [t.outcome.state for t in trials if t.outcome] == ["complete"] * TRIALS
            ended = {x for x, what, made, _ in lines(account) if made == REPORTS and what == "well"}
            assert ended == {t.info.params["x"] for t in trials}
            if codes[4] == HITS:
                break
    print(f"bucket, {fate}: {codes[4]} faults of {turn + 1} hit, each told in a line with exit 4")  # noqa: T201
    assert codes[4] == HITS
