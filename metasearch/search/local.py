"""Trials in this process, one after another: for tests, debugging, and machines without Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from metasearch.search.backend import Desk, Resources
from metasearch.search.notice import Notice
from metasearch.search.process import raises_when_stuck, threads_restored
from metasearch.search.retries import Retries
from metasearch.search.share import Share
from metasearch.search.worker import TrialRunner


class LocalBackend:
    """Runs one trial at a time; `max_concurrent` means nothing here.

    A stuck trial is interrupted where Python can be: between two of its instructions, and only if
    the search runs in the main thread.
    """

    in_process = True

    def __init__(self, trial: str, resources: Resources) -> None:
        self._retries = resources.retries
        patience = resources.patience_s
        guard = partial(raises_when_stuck, patience) if patience is not None else None
        self._desk: Desk | None = None
        notice = Notice(lambda: self._desk is not None and self._desk.stopping)
        self._runner = TrialRunner(trial, cpus=resources.cpus_per_trial, guard=guard, hurry=notice)
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

    def settle(self, recipes: Sequence[Mapping[str, Any]]) -> Share:  # noqa: ARG002
        """None: a trial has all of the machine."""
        return Share(0.0)

    def run(self, desk: Desk) -> None:
        """Return once the desk is closed. What it raises comes through."""
        self._desk = desk = Retries(desk, self._retries, roomier=False)  # it has all of the machine
        while (order := desk.next()) is not None:
            self._runner.start(order)
            while not desk.heard(order.number, self._runner.next()):
                pass
