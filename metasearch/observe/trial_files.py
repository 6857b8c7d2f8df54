"""The pictures of every trial as files, for people with a file browser and for reports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.observe.grid import sample_grid, to_png
from metasearch.trial.report import Report


class TrialFiles:
    """Writes ``trials/<name>/samples/<step>.png`` below the search's folder.

    A file appears whole or not at all; one of the same step is replaced.
    """

    def __init__(self) -> None:
        self._trials = Path()

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:  # noqa: ARG002
        """Remember where trials live."""
        self._trials = search.folder / "trials"

    def started(self, trial: TrialInfo) -> None:
        """Nothing to write yet."""

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """Write the pictures, if the report has any."""
        if report.samples is None:
            return
        folder = self._trials / trial.name / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / f"{report.step}.png", to_png(sample_grid(report.samples)))

    def set_aside(self, trial: TrialInfo) -> None:
        """Nothing to write."""

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Nothing more to write."""

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """Every file is complete already."""


def _write_whole(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename: a reader never sees half a picture."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
