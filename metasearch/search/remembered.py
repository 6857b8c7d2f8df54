"""Which old trials samplers and pruners go on seeing in a long search: the best, and parents."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

BEST = 25  # of one objective; TPE never takes more for the good ones
FRONT = 100  # of several; TPE takes a tenth of what it sees for the good ones

Rank = tuple[int, float, float]
"""Small where a trial went well: 0 if it finished, 1 if it was stopped, 2 if it breaks a bound."""


class Best:
    """The `BEST` of the trials that were put, in whatever order they came."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._ranked: list[tuple[Rank, int]] = []  # best first

    def put(self, number: int, rank: Rank, values: Sequence[float]) -> None:  # noqa: ARG002
        """A trial that is over, or set aside; `values` are of one that finished."""
        bisect.insort(self._ranked, (rank, number))

    def drop(self, number: int, rank: Rank) -> None:
        """A trial that was set aside goes on."""
        del self._ranked[bisect.bisect_left(self._ranked, (rank, number))]

    def numbers(self) -> Sequence[int]:
        """Whom to show."""
        return [number for _, number in self._ranked[:BEST]]


class Front(Best):
    """With several objectives: whom no other beats, of those that finished and keep all bounds.

    If there are more than `FRONT`, those that stand furthest apart; if less than `BEST`, the best
    of those besides that were stopped or break a bound. A trial's end costs a comparison with all
    of the front.

    Source: crowding distances as in Deb et al., "A Fast and Elitist Multiobjective Genetic
    Algorithm: NSGA-II", 2002, section III.B.
    """

    def __init__(self, signs: Sequence[float]) -> None:
        """Nobody yet; a sign is 1 where low is good."""
        super().__init__()
        self._signs = np.array(signs)
        self._costs = np.empty((0, len(signs)))
        self._who = np.empty(0, int)

    def put(self, number: int, rank: Rank, values: Sequence[float]) -> None:
        """A trial that is over, or set aside; who is beaten once never returns."""
        if rank[0] > 0:
            super().put(number, rank, values)
            return
        costs = self._signs * np.array(values)
        if ((self._costs <= costs).all(1) & (self._costs < costs).any(1)).any():
            return
        stays = (self._costs < costs).any(1) | (self._costs == costs).all(1)
        self._costs = np.vstack([self._costs[stays], costs])
        self._who = np.append(self._who[stays], number)

    def numbers(self) -> Sequence[int]:
        """Whom to show."""
        by_number = np.argsort(self._who)  # ties are broken alike, in whatever order they came
        shown = self._who[by_number]
        if len(shown) > FRONT:
            order = np.argsort(-crowding(self._costs[by_number]), kind="stable")
            shown = shown[order[:FRONT]]
        return [*map(int, shown), *super().numbers()[: max(0, BEST - len(shown))]]


def crowding(costs: np.ndarray) -> np.ndarray:
    """How far the neighbours of each row of [n, objectives] are apart; endless at the ends."""
    found = np.zeros(len(costs))
    for side in costs.T:
        order = np.argsort(side, kind="stable")
        width = max(side[order[-1]] - side[order[0]], 1e-300)
        around = np.concatenate([[-np.inf], side[order], [np.inf]])
        found[order] += (around[2:] - around[:-2]) / width
    return found


class Bred:
    """Whom a sampler that breeds looks at: the last generation to finish any, and the parents."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._last = -1
        self._finished: list[int] = []
        self.parents: Sequence[int] = ()  # those chosen last

    def put(self, number: int, generation: int) -> None:
        """A trial finished."""
        if generation > self._last:
            self._last, self._finished = generation, []
        if generation == self._last:
            self._finished.append(number)

    def numbers(self) -> Sequence[int]:
        """Whom to show."""
        return [*self._finished, *self.parents]
