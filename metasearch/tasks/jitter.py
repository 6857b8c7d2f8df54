"""Jitter: a glyph as a hand might have drawn it, from its signed distance field, in batches."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.rng import Stream
from metasearch.tasks.base import Batch

FRAME = 28  # lengths in pixels are for pictures of this side, and grow with the side asked for
FIELD = 56  # side of a stored field
REACH = 4.0  # distances are stored up to so many field pixels either way
NODES = 4  # the elastic warp has NODES x NODES free displacements

_CHUNK = 1024  # pictures sampled at once: bounds memory, changes no number


@dataclass(frozen=True)
class Jitter:
    """How far a drawing may stray; each is drawn afresh for each picture."""

    rotation: float = 10.0  # degrees either way
    shear: float = 0.2  # sideways per height, either way
    scale: tuple[float, float] = (0.85, 1.1)
    shift: float = 1.5  # pixels either way, in x and in y
    elastic: float = 1.0  # pixels, standard deviation of the displacement of each node
    stroke: float = 0.5  # pixels an outline moves out or in, either way

    def draw(self, rng: Stream, n: int) -> Pose:
        """The poses of `n` pictures; the first of them do not depend on how many follow."""
        u = rng.at("pose").numpy().uniform(-1.0, 1.0, size=(n, 6))
        low, high = self.scale
        scale = low + (high - low) * (u[:, 2] + 1) / 2
        warp = rng.at("warp").numpy().normal(size=(n, 2, NODES, NODES))
        return Pose(
            matrix=_inverse(np.deg2rad(self.rotation) * u[:, 0], self.shear * u[:, 1], scale),
            shift=(2 / FRAME * self.shift * u[:, 3:5]).astype(np.float32),
            scale=scale.astype(np.float32),
            stroke=(self.stroke * u[:, 5]).astype(np.float32),
            warp=(2 / FRAME * self.elastic * warp).astype(np.float32),
        )


@dataclass(frozen=True)
class Pose:
    """Where and how fat glyphs are drawn. The frame reaches from -1 to 1 in x and y."""

    matrix: np.ndarray  # [n, 2, 2]: from the frame back to the glyph
    shift: np.ndarray  # [n, 2]: x, y
    scale: np.ndarray  # [n]: how much larger than stored
    stroke: np.ndarray  # [n]: pixels (of FRAME) by which the outline moves out
    warp: np.ndarray  # [n, 2, NODES, NODES]: displacements in x and in y

    @staticmethod
    def neutral(n: int) -> Pose:
        """As stored."""
        ones = np.ones(n, np.float32)
        return Pose(
            matrix=np.tile(np.eye(2, dtype=np.float32), (n, 1, 1)),
            shift=np.zeros((n, 2), np.float32),
            scale=ones,
            stroke=0 * ones,
            warp=np.zeros((n, 2, NODES, NODES), np.float32),
        )

    @staticmethod
    def join(poses: list[Pose]) -> Pose:
        """Of several batches of pictures, in this order."""
        names = ("matrix", "shift", "scale", "stroke", "warp")
        return Pose(**{f: np.concatenate([getattr(p, f) for p in poses]) for f in names})


def _inverse(angle: np.ndarray, shear: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The inverse of scale * rotation * shear, for each picture [n, 2, 2]."""
    cos, sin = np.cos(angle), np.sin(angle)
    back = [[cos + shear * sin, sin - shear * cos], [-sin, cos]]
    return (np.moveaxis(np.array(back), 2, 0) / scale[:, None, None]).astype(np.float32)


@dataclass(frozen=True)
class DrawnFields:
    """Pictures that are drawn anew, each time in another pose."""

    jitter: Jitter
    stored: np.ndarray  # uint8 [n, FIELD, FIELD]

    def draw(self, rows: np.ndarray, pose: Pose, size: int) -> Batch:
        """Pictures "x" [rows, 1, size, size] of these fields in these poses."""
        return {"x": draw(self.stored[rows], pose, size)}


def draw(fields: np.ndarray, pose: Pose, size: int) -> Tensor:
    """Pictures of glyphs, [n, 1, size, size] in [-1, 1] with ink +1.

    Every picture depends on its own field and pose only, to the last bit: products of whole
    batches, whose rounding depends on their size, are avoided.

    Args:
        fields: uint8 [n, FIELD, FIELD], from `encode_distance`.
        pose: of each picture.
        size: side in pixels; the whole frame is shown whatever it is.
    """
    spans = [slice(i, i + _CHUNK) for i in range(0, len(fields), _CHUNK)]
    parts = [_draw(fields[s], pose, s, size) for s in spans]
    return torch.cat(parts) if parts else torch.zeros(0, 1, size, size)


def _draw(fields: np.ndarray, pose: Pose, span: slice, size: int) -> Tensor:
    warp = torch.from_numpy(pose.warp[span])
    matrix, shift, scale, stroke = (
        torch.from_numpy(a[span])[..., None, None]
        for a in (pose.matrix, pose.shift, pose.scale, pose.stroke)
    )
    waves = _waves(size)
    rows = _sum(
        warp[:, :, i, None, :] * waves[i, :, None] for i in range(NODES)
    )  # [n, 2, h, NODES]
    bend = _sum(rows[..., j, None] * waves[j] for j in range(NODES))  # [n, 2, h, w]
    centre = (2 * torch.arange(size, dtype=torch.float32) + 1) / size - 1
    x = centre - shift[:, 0] - bend[:, 0]
    y = centre[:, None] - shift[:, 1] - bend[:, 1]
    grid = torch.empty(*x.shape, 2)  # where in the glyph each pixel looks
    for i in range(2):
        torch.add(matrix[:, i, 0] * x, matrix[:, i, 1] * y, out=grid[..., i])
    stored = torch.from_numpy(np.ascontiguousarray(fields))[:, None].float()
    seen = F.grid_sample(stored, grid, padding_mode="border", align_corners=False)
    distance = decode_distance(seen) * (size / FIELD) * scale[:, None]
    ink = (
        0.5 - distance + stroke[:, None] * (size / FRAME)
    )  # coverage of a pixel by a straight edge
    return 2 * ink.clamp(0, 1) - 1


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)


def _waves(size: int) -> Tensor:
    """How much each node counts along one axis, [NODES, size]: cubic, so that lines stay smooth."""
    nodes = torch.eye(NODES)[:, None, :, None]
    return F.interpolate(nodes, (size, 1), mode="bicubic", align_corners=True)[:, 0, :, 0]


def encode_distance(distance: np.ndarray) -> np.ndarray:
    """Signed distance in field pixels, negative in ink, as uint8: 128 is the outline."""
    return np.clip(np.rint(128 - 127 / REACH * distance), 0, 255).astype(np.uint8)


def decode_distance(stored: Tensor) -> Tensor:
    """What `encode_distance` stored, in field pixels."""
    return (128 - stored) * (REACH / 127)
