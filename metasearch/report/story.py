"""All that is known of a run, read once: what plots, galleries and the page are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from metasearch.errors import RunError
from metasearch.observe.overview import score_axis
from metasearch.observe.standing import Ended
from metasearch.search.files import read_json
from metasearch.search.leaders import Leaders
from metasearch.search.ledger import Record, Run, open_run
from metasearch.trial.report import Report

LONGEST = 200_000  # characters of a text file of a run folder that are shown


@dataclass(frozen=True, eq=False)
class Story:
    """A run, its leaders, its reports, and what export found of the winner."""

    run: Run

    @staticmethod
    def of(folder: Path | str) -> Story:
        """Read a run folder; it may be running.

        Raises:
            RunError: it is no run folder, or is damaged.
        """
        return Story(open_run(Path(folder)))

    @cached_property
    def leaders(self) -> Leaders:
        """The trials that finished, best first."""
        return Leaders.of(self.run)

    @property
    def sign(self) -> float:
        """1 where low is good."""
        return 1.0 if self.run.info.direction == "minimize" else -1.0

    @property
    def score_title(self) -> str:
        """The score, its unit, and where it is good."""
        return score_axis(self.run.info)

    @cached_property
    def ended(self) -> list[Ended]:
        """The trials that are over, in the order in which they ended."""
        over = sorted(
            (r for r in self.run.trials if r.outcome), key=lambda r: (r.done_at or 0.0, r.number)
        )
        return [(r.info, r.outcome) for r in over if r.outcome]

    @cached_property
    def reports(self) -> Mapping[int, Sequence[Report]]:
        """Every report by trial."""
        return {record.number: record.reports() for record in self.run.trials}

    @cached_property
    def evidence(self) -> Mapping[str, Any] | None:
        """What the latest export found of its winner, as in a bundle's report.json."""
        if self.evidence_folder is None:
            return None
        whole = self.evidence_folder / "exported.json"  # with the ranking on `confirm`
        found = read_json(whole) if self.holds(whole) else None
        return found or read_json(self.evidence_folder / "report.json")

    @cached_property
    def evidence_folder(self) -> Path | None:
        """Where it lies, with samples.png."""
        found = [p for p in (self.run.folder / "evidence").glob("*/report.json") if self.holds(p)]
        return max(found, key=lambda p: p.stat().st_mtime).parent if found else None

    @property
    def winner(self) -> Record | None:
        """The trial that was exported, else the first of those that finished."""
        if self.evidence:
            number = self.evidence.get("trial")
            return next((r for r in self.run.trials if r.number == number), None)
        return next(iter(self.leaders.records), None)

    def trial(self, number: int) -> Record:
        """A trial by its number.

        Raises:
            RunError: there is none.
        """
        if not 0 <= number < len(self.run.trials):
            raise RunError(
                f"{self.run.folder}: no trial {number}; {len(self.run.trials)} are there."
            )
        return self.run.trials[number]

    def sheet(self, record: Record) -> Path | None:
        """The latest sheet of samples of a trial."""
        found = [p for p in (record.folder / "samples").glob("*.png") if p.stem.isdecimal()]
        found = [p for p in found if self.holds(p)]
        return max(found, key=lambda p: int(p.stem), default=None)

    def text(self, name: str) -> str:
        """A text file of the run folder, or nothing."""
        path = self.run.folder / name
        if not path.is_file() or not self.holds(path):
            return ""
        return path.read_text("utf-8", errors="replace")[:LONGEST]

    def holds(self, path: Path) -> bool:
        """Whether a file is in the run folder: a stranger's link must not lead a page elsewhere."""
        return path.resolve().is_relative_to(self.run.folder.resolve())


def score_of(record: Record) -> float:
    """The score of a trial that finished."""
    assert record.outcome is not None
    assert record.outcome.score is not None
    return record.outcome.score
