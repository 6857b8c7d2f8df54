"""From a sheet of samples back to its pictures, exactly: a sheet says where they are."""

from __future__ import annotations

import contextlib
import json
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from metasearch.errors import DataError
from metasearch.observe.grid import GAP, LAYOUT, TITLES
from metasearch.trial.report import SampleGrid

LARGEST = 40_000_000  # pixels of a sheet; one of a stranger might be a bomb


_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    ArithmeticError,
    SyntaxError,  # how Pillow says that a PNG is damaged
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@contextlib.contextmanager
def _bombs_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def read_sheet(path: Path) -> SampleGrid:
    """The pictures on a sheet that `grid.sample_grid` drew, as they were given to it.

    Raises:
        DataError: it is no such sheet, or damaged.
    """
    try:
        with _bombs_are_errors(), Image.open(path, formats=["PNG"]) as image:
            layout = json.loads(image.info[LAYOUT])
            if image.width * image.height > LARGEST:
                raise ValueError(f"{image.width} x {image.height} pixels")
            pixels = np.asarray(image.convert("RGB"))
        return _grid(pixels, layout)
    except _DAMAGED as fault:
        raise DataError(
            f"{path}: no sheet of samples that can be taken apart ({type(fault).__name__}: "
            f"{fault}). Sheets are those below trials/<name>/samples of a run."
        ) from fault


def _grid(pixels: np.ndarray, layout: dict[str, Any]) -> SampleGrid:
    tasks = tuple(map(str, layout["tasks"]))
    channels = 1 if layout["channels"] == 1 else 3
    if not layout["blocks"] or len(tasks) != len(layout["tops"]):
        raise ValueError(f"{len(layout['blocks'])} blocks, {len(tasks)} tasks")
    found = {b["title"]: _block(pixels, b, layout["tops"], channels) for b in layout["blocks"]}
    some = next(iter(found.values()))
    empty = np.zeros((len(tasks), 0, *some.shape[2:]), np.uint8)
    support, before, after = (found.get(title, empty) for title in TITLES[:3])
    return SampleGrid(tasks, support, before, after, found.get(TITLES[3]))


def _block(pixels: np.ndarray, block: dict[str, Any], tops: list[int], channels: int) -> np.ndarray:
    """uint8 [tasks, n, h, w, c]; light ink, as in trials."""
    n, h, w = map(int, block["shape"])
    left, columns, scale = (int(block[key]) for key in ("left", "columns", "scale"))
    if not 0 < n * h * w <= LARGEST or left < 0 or min(tops) < 0:
        raise ValueError(f"a block of {n} pictures of {h} x {w} at {left}")
    rows = []
    for top in tops:
        places = [divmod(i, columns) for i in range(n)]
        corners = [(top + r * (h + GAP), left + c * (w + GAP)) for r, c in places]
        rows.append(np.stack([pixels[y : y + h : scale, x : x + w : scale] for y, x in corners]))
    shown = np.stack(rows)  # raises where one is cut off at the edge
    if shown.shape[2:4] != (h // scale, w // scale):
        raise ValueError(f"pictures of {shown.shape[2:4]} where {h // scale, w // scale} are told")
    return 255 - shown[..., :1] if channels == 1 else shown
