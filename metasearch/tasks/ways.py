"""Ways to write a drawing: the same lines in another order, from other ends, at another pace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import dist

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor

from metasearch.tasks.pace import paced, squares_between
from metasearch.tasks.pen import from_positions, positions

_MOVABLE = 7  # strokes of a drawing, the longest, that change places
_TURNS = 8  # points that the pen of a ring may start from
_CLOSED = 0.7  # the ends of a ring are no further apart than so many of its steps
_RING = 5  # points of a ring at least


def alike(steps: Tensor, shot: int) -> Tensor:
    """Drawings [tasks, n, length, 3], all of a task written in the way most like one of them.

    People begin at different ends, and so does a tracer where a line has a gap more or less. The
    pattern is that of the first `shot` (1 or more) to which the others of these are nearest. Of the
    ways to write a drawing (its strokes in any order, each from either end, rings from several
    points) the one is taken whose pen is nearest to the pattern's, in squares, at every step; and
    then it is written at the pattern's pace, see `pace`. The pattern stays as it is.
    """
    found = steps.clone()
    for task, drawings in enumerate(steps):
        found[task] = _alike(drawings, shot)
    return found


def _alike(steps: Tensor, shot: int) -> Tensor:
    """Drawings [n, length, 3] of one task."""
    at, up = positions(steps), steps[..., 2].numpy() < 0
    points = at.numpy()
    forms = [_forms(*_strokes(*drawing)) for drawing in zip(points, up, strict=True)]
    pairs = list(zip(forms, points, strict=True))
    # One drawing at a time: to a bundle all are support, and all beside all take gigabytes.
    support = [_Ways(form, squares_between(one, points[:shot])) for form, one in pairs[:shot]]
    pattern = int(np.sum([np.sqrt(ways.off) for ways in support], 0).argmin())
    like = slice(pattern, pattern + 1)
    nearest = [ways.nearest(pattern) for ways in support]
    for form, one in pairs[shot:]:
        nearest.append(_Ways(form, squares_between(one, points[like])).nearest(0))
    found = steps.clone()
    for k, way in enumerate(nearest):
        found[k] = _written(steps[k], at[k], way)
    return paced(found, steps[like])


def _written(steps: Tensor, at: Tensor, way: Sequence[np.ndarray]) -> Tensor:
    """A drawing [length, 3] with these of its points, stroke by stroke."""
    index = np.concatenate(way)
    if np.array_equal(index, np.arange(len(index))):
        return steps  # to the last bit
    pen = torch.ones(1, len(index))
    pen[0, np.cumsum([0, *map(len, way[:-1])])] = -1
    return from_positions(at[torch.from_numpy(index)].unsqueeze(0), pen).squeeze(0)


def _strokes(points: np.ndarray, up: np.ndarray) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """How many points each stroke of a drawing has, and whether it is a ring."""
    starts = [0, *(1 + np.flatnonzero(up[1:])).tolist()]
    ends = [*starts[1:], len(points)]
    rings = (
        b - a >= _RING
        and dist(points[a], points[b - 1]) <= _CLOSED * dist(points[a], points[a + 1])
        for a, b in zip(starts, ends, strict=True)
    )
    return tuple(b - a for a, b in zip(starts, ends, strict=True)), tuple(rings)


@lru_cache(maxsize=4096)
def _forms(counts: tuple[int, ...], rings: tuple[bool, ...]) -> tuple[np.ndarray, ...]:
    """For each stroke, which of the drawing's points come when [forms, points]; as is first.

    Args:
        counts: points of each stroke.
        rings: whether it ends where it starts.
    """
    ends = np.cumsum(counts).tolist()
    return tuple(
        np.stack(list(_turned(end - n, end, _TURNS if ring else 1)))
        for n, end, ring in zip(counts, ends, rings, strict=True)
    )


def _turned(start: int, end: int, turns: int) -> Iterator[np.ndarray]:
    """The points of a stroke from either end, and those of a ring from each of so many."""
    stroke = np.arange(start, end)
    for path in (stroke, stroke[::-1]):
        yield path
        for turn in range(1, turns):
            ring = np.roll(path[:-1], -(turn * (len(path) - 1) // turns))
            yield np.append(ring, ring[0])


class _Ways:
    """All ways to write a drawing, and how far the nearest of them is from each pattern.

    What a stroke costs depends on how many points were written before it, and so on which strokes
    were and not on their order: for each set of strokes the best that may end it is kept.

    Source: Held & Karp, "A Dynamic Programming Approach to Sequencing Problems", 1962.

    Args:
        forms: of each stroke, see `_forms`.
        squares: of the drawing's points to those of the patterns, [patterns, length, length].
    """

    def __init__(self, forms: Sequence[np.ndarray], squares: np.ndarray) -> None:
        self._forms = forms
        self._sizes = [form.shape[1] for form in forms]
        self._offs = [_offs(form, squares) for form in forms]
        self._last: dict[int, np.ndarray] = {}  # of each set of strokes, as bits: [patterns]
        least = [off.min(1) for off in self._offs]
        movable = sorted(range(len(forms)), key=lambda i: -self._sizes[i])[:_MOVABLE]
        costs, written = {0: np.zeros(len(squares), squares.dtype)}, {0: 0}  # and points so far
        for place in range(len(forms)):
            shorter, costs = costs, {}
            for had, cost in shorter.items():
                for i in movable if place in movable else [place]:
                    if not had >> i & 1:
                        written[had | 1 << i] = written[had] + self._sizes[i]
                        self._offer(costs, had | 1 << i, i, cost + least[i][:, written[had]])
        (self.off,) = costs.values()  # [patterns]

    def _offer(self, costs: dict[int, np.ndarray], had: int, last: int, cost: np.ndarray) -> None:
        """Let a set of strokes end with this one where that costs less."""
        if had not in costs:
            costs[had], self._last[had] = cost, np.full(len(cost), last)
            return
        better = cost < costs[had]
        costs[had][better] = cost[better]
        self._last[had][better] = last

    def nearest(self, pattern: int) -> list[np.ndarray]:
        """Which points come when, stroke by stroke."""
        left, end, way = (1 << len(self._forms)) - 1, sum(self._sizes), []
        while left:
            i = int(self._last[left][pattern])
            end -= self._sizes[i]
            way.append(self._forms[i][self._offs[i][pattern, :, end].argmin()])
            left ^= 1 << i
        return way[::-1]


def _offs(forms: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """How far a stroke, in each form, is from where patterns are then [patterns, forms, start]."""
    found = squares[:, forms]  # [patterns, forms, points, length]
    starts = found.shape[3] - found.shape[2] + 1
    *others, point, when = found.strides
    shape, strides = (*found.shape[:3], starts), (*others, point + when, when)
    return np.asarray(as_strided(found, shape, strides).sum(2))
