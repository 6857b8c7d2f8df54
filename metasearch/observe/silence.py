"""Trials that say nothing for much longer than reports took so far. Told, and not acted upon."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Collection

PATIENCE = 3.0  # times what reports took, by the median
LEAST_S = 30.0  # so that short reports do not make trials suspicious that a machine holds up
_KEPT = 1000  # gaps that are looked at


def overdue(silent_s: float, gaps: Collection[float]) -> bool:
    """Whether a silence is long beside the seconds that other reports took, if there were any."""
    return bool(gaps) and silent_s > max(LEAST_S, PATIENCE * statistics.median(gaps))


class Silence:
    """Since when trials say nothing, by a clock that never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._gaps: deque[float] = deque(maxlen=_KEPT)

    def begun(self, name: str) -> None:
        """A trial runs from now on."""
        self._since[name] = self._clock()

    def broken(self, name: str) -> None:
        """A trial reported."""
        now = self._clock()
        self._gaps.append(now - self._since.get(name, now))
        self._since[name] = now

    def of(self, name: str) -> float:
        """Seconds for which a running trial said nothing; 0 unless that is long."""
        silent_s = self._clock() - self._since.get(name, self._clock())
        return silent_s if overdue(silent_s, self._gaps) else 0.0
