"""First reports, best first: who began too badly to go on yet, and whom others have to beat."""

from __future__ import annotations

import bisect


class Firsts:
    """Of every trial that made its first report beyond the warm-up, what it came to.

    One trial goes on for each so many that begin, best first. Low is good.
    """

    def __init__(self, starters: int) -> None:
        """Nobody yet."""
        self._starters = starters
        self._costs: dict[str, float] = {}  # by trial
        self._in_order: list[float] = []
        self._rivals: list[tuple[float, str]] = []  # in order

    def __contains__(self, name: str) -> bool:
        return name in self._costs

    def add(self, name: str, cost: float) -> None:
        """A trial made its first report; what was added stays."""
        if name not in self._costs:
            self._costs[name] = cost
            bisect.insort(self._in_order, cost)

    def is_early(self, name: str) -> bool:
        """Whether too few trials began yet for one that began as well as this to go on."""
        better = bisect.bisect_left(self._in_order, self._costs[name])
        return better >= len(self._in_order) // self._starters

    def show(self, name: str) -> None:
        """Others may be held against a trial that was added: all its scores are at hand."""
        entry = self._costs[name], name
        at = bisect.bisect_left(self._rivals, entry)
        if self._rivals[at : at + 1] != [entry]:
            self._rivals.insert(at, entry)

    def hide(self, name: str) -> None:
        """A trial's scores are not at hand any more, if they were."""
        entry = self._costs.get(name, 0.0), name
        at = bisect.bisect_left(self._rivals, entry)
        if self._rivals[at : at + 1] == [entry]:
            del self._rivals[at]

    @property
    def rival(self) -> str:
        """The worst of those who would go on if one more began better than it; empty if unknown.

        If its scores are not at hand, the next worse one whose scores are.
        """
        go_on = max(1, (len(self._in_order) + 1) // self._starters)
        if go_on > len(self._in_order):
            return ""
        at = bisect.bisect_left(self._rivals, (self._in_order[go_on - 1], ""))
        return self._rivals[at][1] if at < len(self._rivals) else ""
