"""Who holds a search up: trials that say nothing for much longer than reports took so far."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metasearch.observe.silence import overdue
from metasearch.search.ledger import Record, Run


@dataclass(frozen=True)
class Straggler:
    """A trial that runs and says nothing."""

    trial: int
    name: str
    ran_on: str  # the machine, and its card; empty if it has not said so here
    silent_s: float  # by the clock of the disk and of this machine, so roughly


def stragglers(run: Run) -> list[Straggler]:
    """The trials of a search that runs now which are silent for long, the longest first.

    One that is set aside waits for its turn, and is none.
    """
    if run.state != "running":
        return []
    gaps = [gap for trial in run.trials for gap in _gaps(trial)]
    silent = [
        (time.time() - since, trial)
        for trial in run.trials
        if not trial.outcome and (since := _heard_at(trial))
    ]
    found = [
        Straggler(trial.number, trial.info.name, (["", *trial.ran_on()])[-1], silent_s)
        for silent_s, trial in silent
        if overdue(silent_s, gaps)
    ]
    return sorted(found, key=lambda straggler: -straggler.silent_s)


def _gaps(trial: Record) -> Iterator[float]:
    """Seconds from report to report; of a trial that is over, their mean."""
    if trial.last and trial.curve:
        yield trial.last.cost.seconds / (len(trial.curve) + bool(trial.behind))
    elif not trial.outcome:
        spent = [0.0, *(report.cost.seconds for report in trial.said())]
        yield from (after - before for before, after in itertools.pairwise(spent))


def _heard_at(trial: Record) -> float:
    """When a running trial last began or reported, in unix time; 0 if it does not run."""
    begun, said = (_changed(trial.folder / name) for name in ("ran_on.jsonl", "reports.jsonl"))
    _, waits = trial.answered()
    return 0.0 if waits and said >= begun else max(begun, said)


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
