"""The leak check: is a picture, or nearly the same picture, on both sides of a split?"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from metasearch.tasks.base import SPLITS, LeakReport, Split, TaskId

NEAR = 0.98  # cosine of two class means from which on they count as one class
_NEAR_CENTRED = 0.9  # the same once what all classes have in common is taken away
_SIDE = 28
_FIT = 20  # the longer side of the ink is brought to this many pixels
_CHUNK = 4096
_EXAMPLES = 8


@dataclass(frozen=True)
class Pair:
    """Two classes in different splits, the earlier one first."""

    earlier: int
    later: int
    same: int  # images the later class shares with the earlier one, pixel by pixel
    cosine: float  # of their mean pictures; NaN if it was an exact match that brought them here


def check(
    images: np.ndarray,
    owner: np.ndarray,
    names: Sequence[TaskId],
    splits: Sequence[Split],
    *,
    drop: bool = True,
) -> LeakReport:
    """Look for leaks, and say which classes must go so that none is left.

    A class goes if one of its images equals one of a class in an earlier split that stays, or if
    its mean picture nearly coincides with the mean of such a class: what was seen first is kept,
    so the unseen stays unseen. Splits count in the order train, inner, search, confirm, test.

    Args:
        images: uint8 [n, c, h, w].
        owner: class of each image, [n].
        names: of the classes.
        splits: of the classes.
        drop: whether classes may go; else what was found is counted, and stays.
    """
    level = np.array([SPLITS.index(s) for s in splits])
    pairs = sorted(
        _same_pixels(images, owner, level) + _near_means(images, owner, level),
        key=lambda p: (level[p.later], p.later, level[p.earlier], p.earlier, -p.same),
    )
    if not drop:
        words = tuple(_in_words(p, names, splits) for p in pairs[:_EXAMPLES])
        near = sum(not p.same for p in pairs)
        return LeakReport(sum(p.same for p in pairs), near, (), words)
    gone: set[int] = set()
    told: dict[int, str] = {}
    for pair in pairs:  # by rising split of the later class: whether the earlier stays is settled
        if pair.earlier not in gone and pair.later not in gone:
            gone.add(pair.later)
            told[pair.later] = _in_words(pair, names, splits)
    dropped = tuple(sorted(names[i] for i in gone))
    return LeakReport(0, 0, dropped, tuple(told[i] for i in sorted(told))[:_EXAMPLES])


def unseen_before(images: np.ndarray, level: Sequence[int]) -> np.ndarray:
    """Which images equal none of a lower level, pixel by pixel: bool [n]."""
    marks = [hashlib.sha256(picture.data).digest() for picture in np.ascontiguousarray(images)]
    first: dict[bytes, int] = {}
    for mark, rank in zip(marks, level, strict=True):
        first[mark] = min(first.get(mark, rank), rank)
    return np.array([first[m] == rank for m, rank in zip(marks, level, strict=True)])


def _in_words(pair: Pair, names: Sequence[TaskId], splits: Sequence[Split]) -> str:
    later, earlier = names[pair.later], names[pair.earlier]
    where = f"{later} ({splits[pair.later]}) {{}} {earlier} ({splits[pair.earlier]})"
    if pair.same:
        return where.format(f"shares {pair.same} image{'s' * (pair.same > 1)} with")
    return where.format(f"nearly equals, cosine {pair.cosine:.3f},")


def _same_pixels(images: np.ndarray, owner: np.ndarray, level: np.ndarray) -> list[Pair]:
    """Classes of different splits that have an image in common."""
    owners: defaultdict[bytes, set[int]] = defaultdict(set)
    for picture, who in zip(np.ascontiguousarray(images), owner.tolist(), strict=True):
        owners[hashlib.sha256(picture.data).digest()].add(who)
    same: defaultdict[tuple[int, int], int] = defaultdict(int)
    for sharing in owners.values():
        for a in sharing:
            for b in sharing:
                if level[a] < level[b]:
                    same[a, b] += 1
    return [Pair(a, b, n, float("nan")) for (a, b), n in same.items()]


def _near_means(images: np.ndarray, owner: np.ndarray, level: np.ndarray) -> list[Pair]:
    """Classes of different splits whose mean pictures nearly coincide.

    Photographs of anything have means that resemble each other; so what all classes have in
    common is taken away for a second look, which for ink on paper changes little.
    """
    classes = len(level)
    means = torch.zeros(classes, _SIDE * _SIDE)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        means.index_add_(0, torch.from_numpy(owner[part]), fit_ink(_grey(images[part])).flatten(1))
    means /= torch.from_numpy(np.bincount(owner, minlength=classes)).clamp(min=1)[:, None]
    means = blur(means.view(-1, 1, _SIDE, _SIDE)).flatten(1)
    centred = F.normalize(means - means.mean(0), dim=1)
    means = F.normalize(means, dim=1)
    found = []
    for start in range(0, classes, _CHUNK):
        rows = slice(start, start + _CHUNK)
        cosine = (means[rows] @ means.T).numpy()
        near = (cosine >= NEAR) & ((centred[rows] @ centred.T).numpy() >= _NEAR_CENTRED)
        near &= level[rows, None] < level
        found += [Pair(start + a, b, 0, float(cosine[a, b])) for a, b in np.argwhere(near).tolist()]
    return found


def _grey(images: np.ndarray) -> torch.Tensor:
    grey = torch.from_numpy(images.astype(np.float32)).mean(1, keepdim=True) / 255
    if grey.shape[2:] != (_SIDE, _SIDE):
        grey = F.interpolate(grey, (_SIDE, _SIDE), mode="bilinear", antialias=True)
    return grey


def fit_ink(grey: torch.Tensor, *, stretch: bool = False) -> torch.Tensor:
    """Pictures with the ink cropped and its longer side brought to one size; both, if stretched.

    Args:
        grey: [n, 1, 28, 28], paper 0.
        stretch: fill a square, so that narrow and wide letters can be compared.
    """
    low_x, high_x = _extent(grey.amax(2)[:, 0])
    low_y, high_y = _extent(grey.amax(3)[:, 0])
    wide, tall = (high_x - low_x) / _FIT, (high_y - low_y) / _FIT
    if not stretch:
        wide = tall = torch.maximum(wide, tall)
    steps = (2 * torch.arange(_SIDE, dtype=torch.float32) + 1) / _SIDE - 1
    across = wide[:, None] * steps + (low_x + high_x)[:, None] / _SIDE - 1
    down = tall[:, None] * steps + (low_y + high_y)[:, None] / _SIDE - 1
    grid = torch.empty(len(grey), _SIDE, _SIDE, 2)
    grid[..., 0] = across[:, None, :]
    grid[..., 1] = down[:, :, None]
    return F.grid_sample(grey, grid, align_corners=False)


def _extent(profile: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where ink begins and ends along an axis [n, 28], in pixels; 0 and 28 where all is blank."""
    return _edge(profile), _SIDE - _edge(profile.flip(1))


def _edge(profile: torch.Tensor) -> torch.Tensor:
    """Where a profile first rises through half of its height, to a fraction of a pixel.

    Whole pixels would not do: a letter half a pixel narrower has other pixels all over.
    """
    half = 0.5 * profile.amax(1, keepdim=True)
    first = (profile > half).float().argmax(1, keepdim=True)
    there = profile.gather(1, first)
    before = torch.where(first > 0, profile.gather(1, (first - 1).clamp(min=0)), 0.0)
    back = (there - half) / (there - before).clamp(min=1e-6)
    return (first + 0.5 - back).clamp(min=0).squeeze(1)


def blur(pictures: torch.Tensor) -> torch.Tensor:
    """Blur [n, 1, h, w] by 1:6:1 both ways, half a pixel, to forgive how an edge fell."""
    for axis in (2, 3):
        size = pictures.shape[axis]
        padded = F.pad(pictures, (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0))
        sides = padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)
        pictures = 0.75 * pictures + 0.125 * sides
    return pictures
