"""Where the driver's time goes: parts of a search, told apart while it runs."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any


class Stopwatch:
    """Tells apart where one thread spends its time: each moment counts for the innermost part."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._stack: list[str] = []
        self._since = time.perf_counter(), time.thread_time()

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Measure in here."""
        with contextlib.ExitStack() as stack:
            for part, owner, name in _parts():
                timed = self._timed(part, getattr(owner, name))
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, timed)
            self._since = time.perf_counter(), time.thread_time()
            yield
            self._switch()

    def _switch(self) -> None:
        now = time.perf_counter(), time.thread_time()
        part = self._stack[-1] if self._stack else "Tune and the rest"
        self.seconds[part] += now[0] - self._since[0]
        self.cpu[part] += now[1] - self._since[1]
        self._since = now

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._switch()
            self._stack.append(part)
            self.calls[part] += 1
            try:
                return call(*args, **kwargs)
            finally:
                self._switch()
                self._stack.pop()

        return timed


def _parts() -> list[tuple[str, Any, str]]:
    import ray

    from metasearch.observe.progress import Progress
    from metasearch.observe.tensorboard import TensorBoard
    from metasearch.observe.trial_files import TrialFiles
    from metasearch.search.conductor import Conductor
    from metasearch.search.ledger import Ledger
    from metasearch.search.ray_backend import RayBackend
    from metasearch.search.study import Study

    events = ("opened", "started", "reported", "ended", "closed")
    return [
        ("start and end of workers", RayBackend, "__enter__"),
        ("start and end of workers", RayBackend, "__exit__"),
        ("waiting for a worker", ray, "wait"),
        ("taking messages in", ray, "get"),
        ("syncing the disk", os, "fsync"),
        *(("ledger", Ledger, name) for name in ("asked", "reported", "done")),
        ("suggestion", Study, "ask"),
        *(("study and journal", Study, name) for name in ("report", "notes", "tell")),
        ("order and config.yaml", Conductor, "_order"),
        *(("TensorBoard", TensorBoard, event) for event in events),
        *(("PNG files", TrialFiles, event) for event in events),
        *(("terminal", Progress, event) for event in events),
    ]
