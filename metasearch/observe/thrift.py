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
        clock: seconds that never go back.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._from = clock()

    def __call__(self, do: Callable[[], None]) -> bool:
        """Do it, or leave it; says which."""
        began = self._clock()
        if began < self._from:
            return False
        do()
        self._from = began + (self._clock() - began) / self._share
        return True
