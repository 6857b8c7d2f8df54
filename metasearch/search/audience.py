"""Who is told what happens in a search, and is sent away if it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from metasearch.observe.base import Observer, Outcome, SearchInfo, TrialInfo
from metasearch.search.bucket import StoreFault
from metasearch.search.home import Home
from metasearch.trial.report import Report

log = logging.getLogger(__name__)


class Audience:
    """The observers of a search. One that fails is sent away: a picture never ends a search.

    What a bucket refuses does, for it would refuse the ledger as well.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        """Tell them nothing yet."""
        self._observers = list(observers)
        self._opened = False

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """See `Observer`."""
        self._opened = True
        self._each(lambda observer: observer.opened(search, past))

    def started(self, trial: TrialInfo) -> None:
        """See `Observer`."""
        self._each(lambda observer: observer.started(trial))

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """See `Observer`."""
        self._each(lambda observer: observer.reported(trial, report))

    def set_aside(self, trial: TrialInfo) -> None:
        """See `Observer`."""
        self._each(lambda observer: observer.set_aside(trial))

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """See `Observer`."""
        self._each(lambda observer: observer.ended(trial, outcome))

    def closed(self, *, interrupted: bool) -> None:
        """See `Observer`; nothing is told to those who saw no opening."""
        if self._opened:
            self._each(lambda observer: observer.closed(interrupted))

    def _each(self, tell: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            try:
                tell(observer)
            except StoreFault:  # nothing else can be kept either
                raise
            except OSError as fault:  # the disk: not worth a traceback
                name = type(observer).__name__
                log.warning("%s is left out from here on: %s", name, fault)
                self._observers.remove(observer)
            except Exception:
                log.exception("%s failed and is left out from here on", type(observer).__name__)
                self._observers.remove(observer)


class Uploads(Observer):
    """Keeps what observers before it made of a trial once that is over."""

    def __init__(self, home: Home) -> None:
        """Nothing is kept yet."""
        self._home = home

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """Nothing."""

    def started(self, trial: TrialInfo) -> None:
        """Nothing."""

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """Nothing."""

    def set_aside(self, trial: TrialInfo) -> None:
        """Nothing: its worker kept the checkpoint."""

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:  # noqa: ARG002
        """Keep its folder, and its curves."""
        self._home.push(f"trials/{trial.name}", f"tensorboard/{trial.name}")

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """Nothing: all is kept when the search ends."""
