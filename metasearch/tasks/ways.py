"""Ways to write a drawing: the same lines in another order, and from other ends."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations, product
from math import dist

import numpy as np
import torch
from torch import Tensor

from metasearch.tasks.pen import from_positions, positions

_MOVABLE = 3  # strokes of a drawing, the longest, that change places and ends
_TURNS = {1: 8, 2: 4}  # points that the pen of a ring may start from, by how many strokes there are
_CLOSED = 0.7  # the ends of a ring are no further apart than so many of its steps
_RING = 5  # points of a ring at least


def alike(steps: Tensor) -> Tensor:
    """Drawings [tasks, n, length, 3], each written in the way most like the first of its task.

    People begin at different ends, and so does a tracer where a line has a gap more or less. Of the
    ways to write a drawing (its longest strokes in any order, each from either end, rings from
    several points) the one is taken whose pen is nearest to the first drawing's at every step. The
    lines stay as they are.
    """
    at = positions(steps)
    points, up = at.numpy(), steps[..., 2].numpy() < 0
    squares = np.square(points[:, :, :, None] - points[:, :1, None]).sum(
        -1
    )  # to the first's points
    index = np.arange(steps.shape[2])
    found = steps.clone()
    for k in np.ndindex(*steps.shape[:2]):
        ways, pens = _ways(*_form(points[k], up[k]))
        best = int(squares[k][ways, index].sum(1).argmin())
        if best:  # the others stay, to the last bit
            turned = at[k][torch.from_numpy(ways[best])]
            found[k] = from_positions(turned[None], torch.from_numpy(pens[best])[None])[0]
    return found


def _form(points: np.ndarray, up: np.ndarray) -> tuple[tuple[int, ...], tuple[bool, ...]]:
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
def _ways(counts: tuple[int, ...], rings: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """For each way, which point comes when [ways, length], and the pen [ways, length]; as is first.

    Args:
        counts: points of each stroke.
        rings: whether it ends where it starts.
    """
    ends = np.cumsum(counts)
    longest = sorted(range(len(counts)), key=lambda i: -counts[i])[:_MOVABLE]
    turns = _TURNS.get(len(counts), 1)
    forms = [
        list(_forms(end - n, end, turns if ring else 1))
        if i in longest
        else [np.arange(end - n, end)]
        for i, (n, end, ring) in enumerate(zip(counts, ends.tolist(), rings, strict=True))
    ]
    ways, pens = [], []
    for order in permutations(sorted(longest)):
        into = dict(zip(sorted(longest), order, strict=True))
        for parts in product(*(forms[into.get(i, i)] for i in range(len(counts)))):
            ways.append(np.concatenate(parts))
            pen = np.ones(len(ways[-1]), np.float32)
            pen[np.cumsum([0, *map(len, parts[:-1])])] = -1
            pens.append(pen)
    return np.stack(ways), np.stack(pens)


def _forms(start: int, end: int, turns: int) -> Iterator[np.ndarray]:
    """The points of a stroke from either end, and those of a ring from each of so many."""
    stroke = np.arange(start, end)
    for path in (stroke, stroke[::-1]):
        yield path
        for turn in range(1, turns):
            ring = np.roll(path[:-1], -(turn * (len(path) - 1) // turns))
            yield np.append(ring, ring[0])
