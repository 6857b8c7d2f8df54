"""Asking a search that runs elsewhere on this machine to stop."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from metasearch.errors import EnvironmentFault, RunError
from metasearch.search.lease import Holder, read_holder

PATIENCE_S = 2.0  # between the first signal and the second, where a search is to end at once
_LOOK_S = 0.2


def halt(folder: Path, *, now: bool = False) -> Holder:
    """Have the process that searches in `folder` stop, and return who it was once it has.

    Running trials keep what they have and stop, to be continued; with `now` they are cut off and
    may go on from the report before.

    Raises:
        RunError: nobody searches there, or somebody on another machine or in another container.
        EnvironmentFault: the process is another user's.
    """
    holder = read_holder(folder / "ledger")
    if not holder.alive:
        raise RunError(f"{folder}: no search is running there, so there is nothing to stop.")
    if not holder.here:
        raise RunError(
            f"{folder}: the search runs on {holder.host!r}, not here. Stop it there: {holder.stop}"
        )
    _signal(holder)
    if now:
        _wait(folder, holder, PATIENCE_S)
        if _still(folder, holder):
            _signal(holder)
    _wait(folder, holder, None)
    return holder


def _signal(holder: Holder) -> None:
    try:
        os.kill(holder.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError as fault:
        raise EnvironmentFault(
            f"process {holder.pid} belongs to another user, who alone may stop it."
        ) from fault


def _still(folder: Path, holder: Holder) -> bool:
    found = read_holder(folder / "ledger")
    return found.fence == holder.fence and found.alive


def _wait(folder: Path, holder: Holder, at_most: float | None) -> None:
    end = None if at_most is None else time.monotonic() + at_most
    while _still(folder, holder) and (end is None or time.monotonic() < end):
        time.sleep(_LOOK_S)
