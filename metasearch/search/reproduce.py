"""Running one trial of a search again, alone, and comparing to the last digit."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metasearch import space
from metasearch.errors import RunError
from metasearch.search.backend import Order, placed
from metasearch.search.config import SearchConfig
from metasearch.search.files import to_json
from metasearch.search.ledger import Record
from metasearch.search.revival import revive_report
from metasearch.search.worker import DEFAULT_TRIAL, TrialRunner
from metasearch.trial.report import Report


@dataclass(frozen=True)
class Compared:
    """A report as it was and as it came again."""

    step: int
    before: Report
    again: Report

    @property
    def scores(self) -> tuple[float, float]:
        """Then and now; where only some tasks were judged then, the means over those."""
        if self.before.whole:
            return self.before.score, self.again.score
        seen = self.before.per_task
        now = [self.again.per_task.get(task, math.nan) for task in seen]
        return float(np.mean(list(seen.values()))), float(np.mean(now))

    @property
    def same(self) -> bool:
        """Whether all but the clock is equal, to the last digit; of some tasks, what was seen."""
        if not self.before.whole:
            seen = self.before.per_task
            some = {task: self.again.per_task.get(task) for task in seen}
            return all(_close(some[task], value) for task, value in seen.items())
        return _said(self.before) == _said(self.again)


def reproduce(record: Record, run: Path, trial: str = DEFAULT_TRIAL) -> Iterator[Compared]:
    """Run a trial again in this process, from its beginning, and compare report by report.

    With as many threads as in the search, without pruner and race, for as long as it ran then.
    Nothing is written into the run folder.

    Raises:
        RunError: the trial reported nothing that could be compared, or fails now.
    """
    before = record.said()
    if not before:
        raise RunError(f"{record.folder}: this trial reported nothing to compare with.")
    runner = TrialRunner(trial, cpus=_cpus(run))
    with tempfile.TemporaryDirectory() as scratch:
        runner.start(
            Order(
                record.number, record.info.name, scratch, placed(record.info.config, run.resolve())
            )
        )
        try:
            for report in before:
                yield Compared(report.step, report, _next(runner, record))
        finally:
            runner.close()


def _next(runner: TrialRunner, record: Record) -> Report:
    message: Mapping[str, Any] = runner.next()
    if "error" in message:
        raise RunError(f"{record.info.name} fails now:\n{message['error']['error']}")
    return revive_report(message["report"])


def _cpus(run: Path) -> int:
    search = space.load(run / "search.yaml").tree["search"]
    return int(search.get("cpus_per_trial", SearchConfig().cpus_per_trial))


def _said(report: Report) -> str:
    data = report.to_data()
    return to_json({**data, "cost": {**data["cost"], "seconds": 0.0}})


def _close(again: float | None, before: float) -> bool:
    """Judged in lots or all at once, a task's number may differ by rounding."""
    return again is not None and abs(again - before) <= 1e-6 * max(abs(before), 1.0)
