"""The page of a search that still runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.observe.thrift import Thrift
from metasearch.report.page import write_report
from metasearch.trial.report import Report

SHARE = 0.02  # of the time, at most
RARELY_S = 30.0  # nobody reads faster


class LiveReport:
    """Keeps `report.html` of a run as true as trials end, and leaves the last word at the end.

    Args:
        share: of the time that writing may take; see `Thrift`.
        rarely_s: seconds between two pages, at least.
    """

    def __init__(self, share: float = SHARE, rarely_s: float = RARELY_S) -> None:
        self._thrift = Thrift(share, least_s=rarely_s)
        self._folder = Path()

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:  # noqa: ARG002
        """Remember where the run is."""
        self._folder = search.folder

    def started(self, trial: TrialInfo) -> None:
        """Nothing that a page would show."""

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """A page ranks trials that ended."""

    def set_aside(self, trial: TrialInfo) -> None:
        """Nothing that a page would show."""

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:  # noqa: ARG002
        """Write the page anew, now and then."""
        self._thrift(lambda: write_report(self._folder))

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """Nothing: who searched writes the page once the run is closed, and it says so."""
