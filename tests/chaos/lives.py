"""Searches in processes of their own at the price of a fork: `python -m tests.chaos.lives`.

A process that has imported all there is reads orders, a line of JSON each, and lives each in a
child. So a search that is killed and goes on costs a tenth of a second, and a hundred are affordable.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metasearch.cli.app import ended
from metasearch.observe.tensorboard import TensorBoard
from metasearch.observe.trial_files import TrialFiles
from metasearch.search import lease
from metasearch.search.ledger import open_run
from tests.chaos.history import Witness
from tests.chaos.wire import Wire
from tests.house import ROOT
from tests.search.driver import search_as

WITHIN_S = 120.0
BEAT_S = 0.02  # so often leases are written anew, to be interrupted there as well


@dataclass(frozen=True)
class Ended:
    """How a life ended: its exit code, negative for a signal, and all it said."""

    code: int
    said: str

    @property
    def killed(self) -> bool:
        """Whether it did not come to its end."""
        return self.code == -signal.SIGKILL


class Nursery:
    """Where lives begin, one after another."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self._process = process
        self._said = said

    def live(self, after_s: float | None = None, **order: Any) -> Ended:
        """Live an order to its end, or kill it after a while."""
        pid = self.begin(**order)
        if after_s is not None:
            time.sleep(after_s)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return self.end()

    def begin(self, **order: Any) -> int:
        """Begin to live an order; its process."""
        assert self._process.stdin is not None
        text = json.dumps({**order, "said": str(self._said)})
        self._process.stdin.write(text.encode() + b"\n")
        return self._hear()

    def end(self) -> Ended:
        """How the life that began ended, once it has."""
        return Ended(self._hear(), self._said.read_text())

    def _hear(self) -> int:
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], WITHIN_S)
        assert ready, f"a life does not end within {WITHIN_S} s"
        return int(out.readline())


@contextmanager
def nursery(place: Path, *known: str) -> Iterator[Nursery]:
    """A place where lives begin; what they say goes into a file in `place`.

    Modules that are `known` are imported once, and not by each life.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.lives", *known], cwd=ROOT, bufsize=0,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "HOME": str(place), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    with process:
        yield Nursery(process, place / "said")
        process.stdin.close()  # type: ignore[union-attr]


def _live(order: dict[str, Any]) -> int:
    _pretend(order)
    wire = Wire(
        Path(order.get("root", order["folder"])), order.get("deadly", ""), order.get("nth", 1)
    )
    wire.hang()
    if "bundle" in order:
        code = ended(lambda: _export(order))
    else:
        code = ended(lambda: sys.exit(_search(order)))
    if "passed" in order:
        Path(order["passed"]).write_text(json.dumps(wire.passed))
    return code


def _search(order: dict[str, Any]) -> int:
    observers = [Witness(Path(order["told"])), TensorBoard(), TrialFiles()]
    return search_as(order, observers)


def _export(order: dict[str, Any]) -> None:
    from metasearch.search.export import export  # torch comes with it

    export(open_run(Path(order["folder"])), Path(order["bundle"]), baselines=("scratch",))


def _pretend(order: dict[str, Any]) -> None:
    """What an order says of the machine and its clock."""
    lease.BEAT_S = BEAT_S
    if "stale_s" in order:
        lease.Lease.acquire.__func__.__kwdefaults__["stale_s"] = order["stale_s"]  # type: ignore[attr-defined]
    if "host" in order:
        socket.gethostname = lambda: order["host"]
    if "clock_s" in order:
        now = time.time
        time.time = lambda: now() + order["clock_s"]


def _born(order: dict[str, Any]) -> None:
    """In the child: be a process like one that was started by hand. Never returns."""
    os.setsid()
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 1
    try:
        code = _live(order)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Live line by line."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _born(order)
        print(pid, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
