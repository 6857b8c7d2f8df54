"""Drawings as the steps of a pen: from paths to a fixed number of steps, and to pictures.

A step is a row (dx, dy, pen): where the pen goes from where it is, in half sides of the frame, x to
the right and y downwards, and whether it draws on the way (+1) or not (-1). The pen starts in the
middle of the frame, which reaches from -1 to 1 both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.errors import ConfigError
from metasearch.tasks.base import Batch
from metasearch.tasks.jitter import FRAME, Jitter, Pose
from metasearch.tasks.splits import apportion

WIDTH = 2.0  # pixels of a picture of side FRAME that a line is wide
REACH = 20 / 28  # of the frame that the longer side of a drawing takes
_SHORTEST, _LONGEST = 8, 256  # steps of a drawing
_AT_ONCE = 16  # pictures drawn at once: stays in the processor's cache, changes no number


def check_length(source: str, length: int) -> None:
    """Refuse drawings of too few or too many steps.

    Raises:
        ConfigError: `length` is not 8 to 256.
    """
    if not _SHORTEST <= length <= _LONGEST:
        raise ConfigError(f"{source}: length {length} steps; allowed is {_SHORTEST} to {_LONGEST}.")


def to_steps(paths: Sequence[np.ndarray], length: int) -> np.ndarray:
    """A drawing as float32 [length, 3], centred, its longer side fitted to `REACH` of the frame.

    Steps are shared among strokes by their lengths, each with one to go there and at least one to
    draw; within a stroke they are equally long. Where strokes outnumber them, the shortest go.

    Args:
        paths: of one point or more, [points, 2] as x, y, in any unit.
        length: at least 2.
    """
    most = length // 2
    sizes = np.array([_lengths(path)[-1] for path in paths])
    keep = np.sort(np.argsort(-sizes, kind="stable")[:most])
    shares = sizes[keep] + 1e-6 * max(float(sizes.max()), 1e-6)  # of dots as well
    counts = apportion(length, shares, np.full(len(keep), 2))
    points = [_resampled(paths[i], n) for i, n in zip(keep, counts, strict=True)]
    placed = _fitted(np.concatenate(points))
    steps = np.ones((length, 3), np.float32)
    steps[:, :2] = np.diff(placed, axis=0, prepend=np.zeros((1, 2)))
    steps[np.cumsum([0, *counts[:-1]]), 2] = -1
    return steps


def _lengths(path: np.ndarray) -> np.ndarray:
    """How far along the path each of its points lies."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])


def _resampled(path: np.ndarray, n: int) -> np.ndarray:
    along = _lengths(path)
    at = np.linspace(0, along[-1], n)
    return np.stack([np.interp(at, along, path[:, i]) for i in range(2)], 1)


def _fitted(points: np.ndarray) -> np.ndarray:
    low, high = points.min(0), points.max(0)
    centred = points - (low + high) / 2
    return np.asarray(centred * (2 * REACH / max(float((high - low).max()), 1e-9)))


def positions(steps: Tensor) -> Tensor:
    """Where the pen is after each step [n, length, 2], of steps [n, length, 3]."""
    return steps[..., :2].cumsum(-2)


def from_positions(points: Tensor, pen: Tensor) -> Tensor:
    """The steps [n, length, 3] to points [n, length, 2], drawing where `pen` [n, length] is 1."""
    before = F.pad(points[:, :-1], (0, 0, 1, 0))
    return torch.cat([points - before, pen.unsqueeze(-1)], -1)


def render(steps: Tensor, size: int) -> Tensor:
    """Pictures [n, 1, size, size] in [-1, 1] of steps [n, length, 3]; ink is +1.

    A pixel is covered as the nearest line covers it, by its distance from the pixel's centre: edges
    are smooth, and so the picture has a derivative in every point of a line and in the pen, which
    between -1 and 1 draws in grey. Every picture depends on its own row only, to the last bit.
    """
    parts = [_rendered(some, size) for some in torch.split(steps, _AT_ONCE)]
    return torch.cat(parts) if parts else steps.new_zeros(0, 1, size, size)


def _rendered(steps: Tensor, size: int) -> Tensor:
    way, down = steps[..., :2], (steps[..., 2].clamp(-1, 1) + 1) / 2
    start = positions(steps) - way
    centre = (2 * torch.arange(size, device=steps.device, dtype=steps.dtype) + 1) / size - 1
    across = (centre - start[..., :1]).unsqueeze(-2)  # [n, length, 1, w]
    along = (centre - start[..., 1:]).unsqueeze(-1)  # [n, length, h, 1]
    dx, dy = (way[..., i, None, None] for i in (0, 1))
    square = (dx.square() + dy.square()).clamp_min(1e-8)
    share = (across * (dx / square) + along * (dy / square)).clamp(0, 1)
    off = (across - share * dx).square() + (along - share * dy).square()
    distance = (off + 1e-12).sqrt() * (size / 2)
    ink = (0.5 + WIDTH / 2 * size / FRAME - distance).clamp(0, 1) * down[..., None, None]
    covered: Tensor = ink.max(1, keepdim=True).values
    return 2 * covered - 1


def moved(steps: Tensor, pose: Pose) -> Tensor:
    """The drawings [n, length, 3] as a hand might draw them: turned, sheared, scaled, bent.

    The same poses do to lines what `jitter.draw` does to pictures, line width aside.
    """
    at = positions(steps)
    nodes = torch.from_numpy(pose.warp)
    bend = F.grid_sample(nodes, at.unsqueeze(1), "bicubic", "border", align_corners=True)
    forward = torch.from_numpy(np.linalg.inv(pose.matrix))
    turned = (forward.unsqueeze(1) * at.unsqueeze(-2)).sum(-1)
    points = turned + torch.from_numpy(pose.shift).unsqueeze(1) + bend.squeeze(2).mT
    return from_positions(points, steps[..., 2])


@dataclass(frozen=True)
class DrawnStrokes:
    """Strokes that are drawn anew, each time in another pose."""

    jitter: Jitter
    stored: np.ndarray  # float32 [n, length, 3]

    def draw(self, rows: np.ndarray, pose: Pose, size: int) -> Batch:
        """Pictures "x" [rows, 1, size, size] in these poses, and their steps "t"."""
        steps = moved(torch.from_numpy(self.stored[rows]), pose)
        return {"x": render(steps, size), "t": steps}
