"""What a trial said, as the lines in its folder, and what it comes to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from metasearch.errors import EnvironmentFault
from metasearch.observe.base import Outcome
from metasearch.search.files import read_lines, to_json
from metasearch.search.revival import revive_report
from metasearch.trial.report import Report

Answer = Literal["", "on", "aside"]
"""What a report was answered: that the trial is over, may go on from there, or has to wait."""

_PASSED = "passed"  # in a line: an answer that is not empty


def line_of(report: Report, answer: Answer) -> str:
    """A report as a line, with what it was answered."""
    return to_json(report.to_data() | ({_PASSED: answer} if answer else {}))


def read_reports(path: Path) -> list[Report]:
    """The reports in a file, by step; none if there is no file."""
    return [_report_of(line) for line in read_lines(path)]


def read_line(line: bytes) -> Report:
    """The report in a line, as it stands in a file; raises what a damaged one comes to."""
    return _report_of(json.loads(line))


def _report_of(line: Mapping[str, Any]) -> Report:
    return revive_report({key: value for key, value in line.items() if key != _PASSED})


def answered(path: Path) -> tuple[int, bool]:
    """The last step at which a trial was told to go on, 0 if it never was, and whether it waits.

    What reported once more had been told so, even if that was not written down.
    """
    lines = list(read_lines(path))
    told = [line["step"] for line in lines if line.get(_PASSED)]
    waits = bool(lines) and lines[-1].get(_PASSED) == "aside"
    return max([0, *told, *(line["step"] for line in lines[:-1])]), waits


def read_places(path: Path) -> list[str]:
    """The machines in a file of where a trial ran, with their cards, each once, in order."""
    return list(dict.fromkeys(" ".join(map(str, x.values())) for x in read_lines(path)))


def ended_with(last: Report, state: Literal["complete", "pruned"], reason: str) -> Outcome:
    """How a trial ended that said this last; a score of some tasks is none."""
    finite = last.whole and math.isfinite(last.score)
    return Outcome(
        state,
        reason,
        score=last.score if finite else None,
        low=last.low if finite else None,
        high=last.high if finite else None,
        step=last.step,
        seconds=last.cost.seconds,
    )


def untold(last: Report, objectives: Sequence[str]) -> str:
    """Which objectives a last report does not tell, in words; empty if none."""
    missing = [o for o in objectives if not math.isfinite(last.scalars.get(f"score/{o}", math.nan))]
    return f"it tells no {', '.join(missing)}" if missing else ""


def no_room(place: str, error: str) -> EnvironmentFault:
    """What ends a search whose trials cannot write: they are not to blame, and stay to run."""
    why = error.strip().splitlines()[-1]
    return EnvironmentFault(
        f"{place}: the trial cannot write there ({why}). Make room or access, and give the "
        "same command again: nothing that finished is lost."
    )
