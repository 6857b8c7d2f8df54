"""Photographs of something on paper, cut to the thing itself, with the paper made even."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from metasearch.bundle.images import absent
from metasearch.errors import DataError
from metasearch.tasks.decode import plain, read_picture
from metasearch.tasks.tree import listing

_SIDE = 192  # pixels of the longer side on which the thing is looked for: grain averages out
_ENOUGH = 1024  # pixels of the longer side: more than any model draws
_RIM = 0.04  # of a side: what is paper for certain
_MARGIN = 0.15  # of the thing's longer side, left around it
_CLEAR = 0.3  # of the strongest difference from paper, below which a pixel is paper


def subjects(images: str | Path | Sequence[Path | Image.Image]) -> list[Image.Image]:
    """The images of a folder, of files, or as they are, each cut to what stands on its paper.

    Raises:
        DataError: one is not there, cannot be read, or shows nothing but paper.
    """
    found = Path(images) if isinstance(images, str) else images
    return [_subject(name, picture) for name, picture in _pictures(found)]


def _pictures(
    images: Path | Sequence[Path | Image.Image],
) -> Iterator[tuple[object, Image.Image | str]]:
    """Each image with its name; in its place, why it cannot be read."""
    if isinstance(images, Path) and images.is_dir():
        with listing(images) as found:
            for member in found.members:
                yield "/".join(member.parts), read_picture(member.read())
        return
    for i, one in enumerate([images] if isinstance(images, Path) else images):
        if isinstance(one, Image.Image):
            yield f"image {i}", plain(one)
        elif one.is_file():
            yield one, read_picture(one.read_bytes())
        else:
            raise absent(one)


def _subject(name: object, picture: Image.Image | str) -> Image.Image:
    if isinstance(picture, str):
        raise DataError(f"{name} cannot be read ({picture}). Repair or remove it.")
    found = cropped(picture)
    if found is None:
        raise DataError(f"{name} shows nothing but paper. Remove it, or do not crop.")
    return found


def cropped(image: Image.Image) -> Image.Image | None:
    """An image, L or RGB, cut to a square around the thing on its paper; None if there is none.

    Paper is what the rim shows. A plane is laid through its light, which a lamp at one side makes
    uneven, and taken off: paper comes out white (or black, if it is dark).
    """
    image = image.copy()
    image.thumbnail((_ENOUGH, _ENOUGH), Image.Resampling.LANCZOS)
    pixels = np.asarray(image).astype(np.float32).reshape(image.height, image.width, -1)
    paper = _plane(pixels)
    even = _evened(pixels, paper)
    light = bool(paper.mean() > 127)
    box = _box(even, light=light)
    if box is None:
        return None
    left, top, side = box
    canvas = np.full((side, side, pixels.shape[2]), 255 if light else 0, np.uint8)
    rows = slice(max(top, 0), min(top + side, image.height))
    columns = slice(max(left, 0), min(left + side, image.width))
    canvas[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = even[
        rows, columns
    ]
    return Image.fromarray(canvas[..., 0] if canvas.shape[2] == 1 else canvas)


def _plane(pixels: np.ndarray) -> np.ndarray:
    """The light of the paper in every pixel [h, w, c], by least squares over the rim."""
    h, w, c = pixels.shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    y, x = y / h - 0.5, x / w - 0.5
    rim = np.maximum(np.abs(y), np.abs(x)) > 0.5 - _RIM
    known = pixels[rim]
    usual = np.abs(known - np.median(known, 0)).mean(1)
    paper = usual <= np.quantile(usual, 0.8)  # something may reach into the rim
    terms = np.stack([np.ones(int(rim.sum())), y[rim], x[rim]], 1)[paper]
    found, *_ = np.linalg.lstsq(terms, known[paper], rcond=None)
    return (found[0] + y[..., None] * found[1] + x[..., None] * found[2]).reshape(h, w, c)


def _evened(pixels: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """uint8, with the paper at 255, or at 0 if it is dark."""
    if paper.mean() > 127:
        even = pixels * (255 / np.clip(paper, 1, None))
    else:
        even = (pixels - paper) * (255 / np.clip(255 - paper, 1, None))
    return np.clip(np.round(even), 0, 255).astype(np.uint8)


def _box(even: np.ndarray, *, light: bool) -> tuple[int, int, int] | None:
    """Left, top and side of a square around what differs from paper."""
    h, w, _ = even.shape
    small = Image.fromarray(even.mean(2).astype(np.uint8))
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    away = np.asarray(small).astype(np.float32)
    away = 255 - away if light else away
    strongest = float(np.quantile(away, 0.999))
    if strongest < 0.1 * 255:
        return None
    y, x = np.nonzero(away > _CLEAR * strongest)
    # A few stray pixels, such as dust, are not the thing.
    top, bottom = np.quantile(y, [0.002, 0.998]) * h / small.height
    left, right = np.quantile(x, [0.002, 0.998]) * w / small.width
    side = max(bottom - top, right - left) + h / small.height
    whole = round(side * (1 + 2 * _MARGIN))
    x_middle = (left + right) / 2 + 0.5 * w / small.width
    y_middle = (top + bottom) / 2 + 0.5 * h / small.height
    return round(x_middle - whole / 2), round(y_middle - whole / 2), max(whole, 1)
