"""A search in a process of its own, to be killed: `python -m tests.search.driver '<json>'`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metasearch.cli.app import ended
from metasearch.observe.base import Observer
from metasearch.search.addresses import to_search
from metasearch.search.advisors import SAMPLERS
from metasearch.search.racing import Racing
from metasearch.search.run import make_backend, run_search
from metasearch.search.stopping import NoPruner
from tests.search.plans import plan
from tests.search.planted import TRIAL

ROOT = Path(__file__).parents[2]


def launch(
    folder: Path, space: dict[str, Any], before: Sequence[str] = (), **search: Any
) -> subprocess.Popen[str]:
    """Start the search of `plans.plan(space, **search)` in `folder`, away from the own home.

    `before` is a command that starts it, such as one that takes rights away.
    """
    order = json.dumps({"folder": str(folder), "space": space, "search": search})
    return subprocess.Popen(
        [*before, sys.executable, "-m", "tests.search.driver", order],
        cwd=ROOT,
        env={**os.environ, "HOME": str(folder.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # as a terminal does: a signal to the group hits all of it
    )


def wait_until(
    true: Callable[[], bool], process: subprocess.Popen[str], within_s: float = 60
) -> None:
    """Poll until something is so; fail if the process ends before, or it takes too long."""
    end = time.monotonic() + within_s
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def lines(file: Path) -> list[list[Any]]:
    """An account that trials kept; see `planted.note`."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def listening(pid: int) -> set[str]:
    """The addresses, as the kernel writes them, at which a process and its descendants listen."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    sockets = set()
    for member in family:
        for file in Path(f"/proc/{member}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(str(file.readlink()))
    rows = [line.split() for net in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{net}").read_text().splitlines()[1:]]  # fmt: skip
    return {row[1].partition(":")[0] for row in rows
            if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}  # fmt: skip


def search_as(order: dict[str, Any], observers: Sequence[Observer] = ()) -> int:
    """Run the search of an order, say how it ended, and return its exit code."""
    search = dict(order["search"])
    address = search.pop("address", None)
    sampler = dict(search.pop("sampler", {"name": "random"}))
    sampler = SAMPLERS[sampler.pop("name")](**sampler)
    if race := search.pop("race", None):
        search["race"] = Racing(**race)
    made = plan(order["space"], sampler=sampler, pruner=NoPruner(), **search)
    folder = to_search(order["folder"])
    backend = make_backend(made.search, folder, TRIAL, address=address)
    summary = run_search(made, folder, observers, backend=backend)
    sys.stdout.write(summary.ending)
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(ended(lambda: sys.exit(search_as(json.loads(sys.argv[1])))))
