"""The race as the desk sees it: who has to wait, who goes on, and who need not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.search.ledger import Record
from metasearch.search.pace import Pace
from metasearch.search.racing import Bar, Hurdles
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
        self._numbers: set[int] = set()
        self._tested: Bar | None = None  # which those who wait were last held against

    def __len__(self) -> int:
        return len(self._aside)

    @property
    def numbers(self) -> frozenset[int]:
        """Of the trials that wait."""
        return frozenset(self._numbers)

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
        begun: float | None = None,
    ) -> bool:
        """Who ran to the end and keeps all bounds is one to be beaten. Returns whether it leads.

        `begun`: its first score, if it is not in the curve; see `Pace.ended`.
        """
        self._leave(trial.name)
        if self._pace is None:
            return False
        if outcome.state == "complete" and curve and self._search.kept(scalars):
            record = Record(trial, self._trials / trial.name, asked_at=0.0)
            return self._pace.finished(trial.name, curve, record.reports, begun)
        self._pace.ended(trial.name, curve, begun)
        return False

    def hurdles(self, trial: TrialInfo) -> dict[str, Any] | None:
        """What a trial that begins or goes on is held against, as plain data.

        With bounds all tasks are judged, for else nobody knows whether it keeps them.
        """
        pace = self._pace_of(trial)
        bar = pace.bar() if pace else None
        gate = pace.gate(trial.name) if pace and not self._search.bounds else None
        return Hurdles(bar, gate).to_data() if bar or gate else None

    def beaten(self, trial: TrialInfo) -> str:
        """Why a trial need not go on; empty if it may still win."""
        pace = self._pace_of(trial)
        return pace.beaten(trial.name) if pace else ""

    def beaten_aside(self) -> list[tuple[TrialInfo, str]]:
        """Who waits and need not go on, and why; nobody, if what counts for it has not changed."""
        bar = self._pace.bar() if self._pace and self._aside else None
        if bar is None or bar == self._tested:
            return []
        self._tested = bar
        told = [(trial, self.beaten(trial)) for trial in self._aside.values()]
        return [(trial, why) for trial, why in told if why]

    def waits(self, trial: TrialInfo) -> bool:
        """Whether a trial that reported has to wait."""
        pace = self._pace_of(trial)
        return pace is not None and pace.waits(trial.name)

    def put(self, trial: TrialInfo) -> None:
        """Set a trial aside."""
        if self._pace:
            self._aside[trial.name] = trial
            self._numbers.add(trial.number)
            self._pace.set_aside(trial.name)

    def take(self, *, last: bool) -> TrialInfo | None:
        """A trial that goes on now; `last`: there is none to be asked for any more."""
        name = self._pace.pick(last=last) if self._pace else ""
        return self._leave(name)

    def _leave(self, name: str) -> TrialInfo | None:
        trial = self._aside.pop(name, None)
        if trial:
            self._numbers.discard(trial.number)
        return trial

    def _pace_of(self, trial: TrialInfo) -> Pace | None:
        return self._pace if self._pace and trial.number not in self._pace.spared else None
