"""A trial without an outcome, as the desk keeps it in mind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from metasearch.observe.base import TrialInfo
from metasearch.search.ledger import Record
from metasearch.trial.report import Report


@dataclass
class Live:
    """It runs, waits, or is to be gone on with."""

    info: TrialInfo
    curve: list[tuple[int, float]] = field(default_factory=list)  # of reports of all tasks
    last: Report | None = None
    passed: int = 0  # the step at which an earlier sitting told it to go on
    aside: bool = False  # whether it was set aside then

    @staticmethod
    def of(record: Record) -> tuple[Live, Sequence[Report]]:
        """What an earlier sitting left, and all that was reported."""
        said = record.said()
        curve = [(report.step, report.score) for report in said if report.whole]
        return Live(record.info, curve, said[-1] if said else None, *record.answered()), said

    def unheard(self) -> bool:
        """Whether nobody told it what comes after its last report."""
        return self.last is not None and self.last.step > self.passed
