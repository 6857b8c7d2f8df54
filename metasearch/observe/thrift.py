"""A pastime may take a share of the time, and no more."""

from __future__ import annotations

import time
from collections.abc import Callable


class Thrift:
    """Does what it is asked to, unless that took too much of the time until now.

    What took a second is not done again before `1 / share` seconds have passed, so that drawing
    never holds up a search whose trials take moments. The first time is free.

    Args:
        share: of the time, at most; infinity does everything.
        least_s: seconds to wait after each time, however short it was.
        clock: seconds that never go back.
    """

    def __init__(
        self, share: float, clock: Callable[[], float] = time.monotonic, *, least_s: float = 0.0
    ) -> None:
        self._share = share
        self._least_s = least_s
        self._clock = clock
        self._from = clock()

    def __call__(self, do: Callable[[], object]) -> bool:
        """Do it, or leave it; says which."""
        began = self._clock()
        if began < self._from:
            return False
        do()
        took = self._clock() - began
        self._from = began + max(took / self._share, self._least_s)
        return True
