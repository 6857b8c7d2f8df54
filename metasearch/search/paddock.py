"""The race as the desk sees it: who has to wait, who goes on, and who need not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.search.ledger import Record
from metasearch.search.racing import Pace
from metasearch.trial.report import Report


class Paddock:
    """Trials that were set aside, and what the race is told of all. Without a pace, nobody waits.

    What a trial was told stays: one that goes on later does so from its last checkpoint.
    """

    def __init__(self, pace: Pace | None, search: SearchInfo, trials: Path) -> None:
        """Begin with nobody; `trials` holds the trials' folders."""
        self._pace = pace
        self._search = search
        self._trials = trials
        self._aside: dict[str, TrialInfo] = {}

    def __len__(self) -> int:
        return len(self._aside)

    @property
    def everybody(self) -> tuple[TrialInfo, ...]:
        """The trials that wait."""
        return tuple(self._aside.values())

    @property
    def numbers(self) -> frozenset[int]:
        """Of the trials that wait."""
        return frozenset(trial.number for trial in self._aside.values())

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """Trials race against one that runs, too, unless it breaks a bound."""
        if self._pace and self._search.kept(report.scalars):
            self._pace.reported(trial.name, report)

    def ended(
        self,
        trial: TrialInfo,
        outcome: Outcome,
        curve: Sequence[tuple[int, float]],
        scalars: Mapping[str, float],
    ) -> bool:
        """Who ran to the end and keeps all bounds is one to be beaten. Returns whether it leads."""
        self._aside.pop(trial.name, None)
        if self._pace is None:
            return False
        if outcome.state == "complete" and curve and self._search.kept(scalars):
            record = Record(trial, self._trials / trial.name, asked_at=0.0)
            return self._pace.finished(trial.name, curve, record.reports)
        self._pace.ended(trial.name, curve)
        return False

    def bar(self, trial: TrialInfo) -> dict[str, Any] | None:
        """What a trial that begins or goes on has to reach, as plain data."""
        pace = self._pace_of(trial)
        bar = pace.bar() if pace else None
        return bar.to_data() if bar else None

    def beaten(self, trial: TrialInfo) -> str:
        """Why a trial need not go on; empty if it may still win."""
        pace = self._pace_of(trial)
        return pace.beaten(trial.name) if pace else ""

    def put(self, trial: TrialInfo) -> bool:
        """Set a trial aside that reported, if it has to wait."""
        pace = self._pace_of(trial)
        if waits := pace is not None and pace.waits(trial.name):
            self._aside[trial.name] = trial
        return waits

    def take(self, *, last: bool) -> TrialInfo | None:
        """A trial that goes on now; `last`: there is none to be asked for any more."""
        if self._pace is None or not self._aside:
            return None
        name = self._pace.pick(self._aside, last=last)
        return self._aside.pop(name) if name else None

    def _pace_of(self, trial: TrialInfo) -> Pace | None:
        return self._pace if self._pace and trial.number not in self._pace.spared else None
