"""What ends a search before all its trials were asked, and who may go on once that is raised."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from metasearch.observe.base import LIMITS, Limit, Outcome, SearchInfo
from metasearch.trial.report import Report

LATE = 1.1  # times the time of a search, after which trials stop between two reports


class Spent:
    """What all trials of a search spent, beside its limits."""

    def __init__(
        self, info: SearchInfo, clock: Callable[[], float], lasts: Iterable[Report | None] = ()
    ) -> None:
        """`clock` tells the seconds of the search; `lasts` are the last reports of its trials."""
        self._info = info
        self._clock = clock
        self._gradients = self._trial_ns = 0  # whole numbers: in any order they add up to the same
        for last in lasts:
            self.add(last)

    def add(self, last: Report | None, before: Report | None = None) -> None:
        """Count what a trial spent up to its last report, or since the one before."""
        if last is not None:
            gradients, seconds = (
                (before.cost.gradients, before.cost.seconds) if before else (0, 0.0)
            )
            self._gradients += last.cost.gradients - gradients
            self._trial_ns += round(1e9 * last.cost.seconds) - round(1e9 * seconds)

    @property
    def limit(self) -> Limit:
        """Which limit is reached, if one is."""
        return self._info.over(self._clock(), self._gradients, self._trial_ns / 1e9)

    @property
    def late(self) -> bool:
        """Whether the time is so long over that running trials are not to wait for a report."""
        return self._info.time_s is not None and self._clock() >= LATE * self._info.time_s


def cut_short(outcome: Outcome | None) -> bool:
    """Whether a limit ended a trial, which goes on from its last checkpoint once it is raised."""
    return outcome is not None and outcome.reason in LIMITS
