"""The pace of a pen: the same lines, with its steps where another drawing has them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metasearch.tasks.pen import from_positions, positions

_FINE = 2  # a step may end at so many points of each step that there was
_FASTEST = 2  # steps that there were, in one
_NEVER = np.float32(1e9)


def paced(steps: Tensor, like: Tensor) -> Tensor:
    """Drawings [n, length, 3], their steps as near as may be to those of `like` [1, length, 3].

    Two drawings of a character share their steps out differently where a stroke is longer in one,
    or two strokes in one are one in the other; a step then does not do what the same step does
    elsewhere. Of all ways to walk along the strokes, as they are ordered and through both ends of
    each, the one is taken whose points are nearest to the other's, in squares. A step ends at a
    point that there was or half way to the next, half a step to two steps further on; the way to
    the next stroke takes one. Corners between two points are cut.

    Source: Sakoe & Chiba, "Dynamic programming algorithm optimization for spoken word recognition",
    1978, section II, for time that is warped. Differs: one side keeps its time.
    """
    at, up = positions(steps).numpy(), steps[..., 2].numpy() < 0
    points, stroke = _finer(at, up)
    squares = squares_between(points, positions(like).numpy())
    index = _walk(np.where((stroke < 0)[..., None], _NEVER, squares), stroke)
    rows = np.arange(len(index))[:, None]
    taken = stroke[rows, index]
    pen = np.where(np.diff(taken, axis=1, prepend=taken[:, :1]) > 0, -1, 1).astype(np.float32)
    pen[:, 0] = steps[:, 0, 2]
    walked = from_positions(torch.from_numpy(points[rows, index]), torch.from_numpy(pen))
    same = (index == np.arange(index.shape[1]) * _FINE).all(1)  # stays to the last bit
    return torch.where(torch.from_numpy(same)[:, None, None], steps, walked)


def squares_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squares [..., n, m] of the distances between points [..., n, 2] and [..., m, 2]."""
    x, y = (a[..., :, None, i] - b[..., None, :, i] for i in (0, 1))
    return np.asarray(x * x + y * y)


def _finer(at: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, fine, 2] between those [n, length, 2], and of which stroke each is; -1: of none.

    There are `_FINE` for each step, the last of them its end; of the first, its end alone.
    """
    share = np.arange(1, _FINE + 1, dtype=at.dtype)[:, None] / _FINE
    between = at[:, :-1, None] * (1 - share) + at[:, 1:, None] * share
    points = np.concatenate([at[:, :1], between.reshape(len(at), -1, 2)], 1)
    stroke = np.cumsum(up, 1) - up[:, :1]
    inner = np.repeat(stroke[:, 1:, None], _FINE, 2)
    inner[:, :, :-1][up[:, 1:]] = -1
    return points, np.concatenate([stroke[:, :1], inner.reshape(len(at), -1)], 1)


def _walk(squares: np.ndarray, stroke: np.ndarray) -> np.ndarray:
    """Which points [n, length] are taken, for squares [n, fine, length]."""
    n, fine, length = squares.shape
    paces = range(1, _FINE * _FASTEST + 1)
    walls = []  # what a step so long costs beside where it ends
    for pace in paces:
        wall = np.full((n, fine), _NEVER, np.float32)
        on = stroke[:, pace:] - stroke[:, :-pace]
        wall[:, pace:][(on == 0) | ((on == 1) & (pace == _FINE))] = 0  # or to the next stroke
        walls.append(wall)
    cost = np.full((n, fine), _NEVER, np.float32)
    cost[:, 0] = squares[:, 0, 0]
    taken = np.empty((length, n, fine), np.int8)
    for step in range(1, length):
        ways = np.full((len(paces), n, fine), 2 * _NEVER, np.float32)
        for pace, wall, way in zip(paces, walls, ways, strict=True):
            way[:, pace:] = cost[:, :-pace] + wall[:, pace:]
        taken[step] = ways.argmin(0)
        cost = np.minimum(ways.min(0) + squares[:, :, step], _NEVER)
    index = np.full((n, length), fine - 1)
    rows = np.arange(n)
    for step in range(length - 1, 0, -1):
        index[:, step - 1] = index[:, step] - 1 - taken[step, rows, index[:, step]]
    return index
