"""When a trial is told to keep what it has, for its process may not see the next report."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_S = 1.0  # from one look to the next; a look may ask another machine
REST_S = 5.0  # from one pause to the next, while the notice stands


class Notice:
    """Says yes as soon as there is a notice, and then every `REST_S` seconds as long as it stands.

    It is asked after each meta-step, which may take less than a look.
    """

    def __init__(self, look: Callable[[], bool]) -> None:
        """`look` finds out whether the process, or the search, will end before long."""
        self._look = look
        self._next = 0.0

    def __call__(self) -> bool:
        """Whether to keep what there is now."""
        now = time.monotonic()
        if now < self._next:
            return False
        coming = self._look()
        self._next = now + (REST_S if coming else LOOK_S)
        return coming
