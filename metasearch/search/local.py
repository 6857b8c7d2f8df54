"""Trials in this process, one after another: for tests, debugging, and machines without Ray."""

from __future__ import annotations

import contextlib
from types import TracebackType

from metasearch.search.backend import Desk, Resources
from metasearch.search.process import threads_restored
from metasearch.search.worker import TrialRunner


class LocalBackend:
    """Runs one trial at a time; `max_concurrent` and `retries` mean nothing here."""

    in_process = True

    def __init__(self, trial: str, resources: Resources) -> None:
        self._runner = TrialRunner(trial, cpus=resources.cpus_per_trial)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> LocalBackend:
        self._open.enter_context(threads_restored())
        self._open.callback(self._runner.close)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def run(self, desk: Desk) -> None:
        """Return once the desk is closed. What it raises comes through."""
        while (order := desk.next()) is not None:
            self._runner.start(order)
            while not desk.heard(order.number, self._runner.next()):
                pass
