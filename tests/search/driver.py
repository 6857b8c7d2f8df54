"""A search in a process of its own, to be killed: `python -m tests.search.driver '<json>'`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metasearch.search.advisors import SAMPLERS, NoPruner
from metasearch.search.run import make_backend, run_search
from tests.search.planted import TRIAL
from tests.search.plans import plan

ROOT = Path(__file__).parents[2]


def launch(folder: Path, space: dict[str, Any], **search: Any) -> subprocess.Popen[str]:
    """Start the search of `plans.plan(space, **search)` in `folder`."""
    order = json.dumps({"folder": str(folder), "space": space, "search": search})
    command = [sys.executable, "-m", "tests.search.driver", order]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
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


def _main(order: dict[str, Any]) -> int:
    search = order["search"]
    address = search.pop("address", None)
    sampler = search.pop("sampler", {"name": "random"})
    sampler = SAMPLERS[sampler.pop("name")](**sampler)
    made = plan(order["space"], sampler=sampler, pruner=NoPruner(), **search)
    folder = Path(order["folder"])
    backend = make_backend(made.search, folder, TRIAL, address=address)
    summary = run_search(made, folder, backend=backend)
    print(summary.ending)
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(_main(json.loads(sys.argv[1])))
