"""Images that stand side by side in one picture: a contact sheet, a scan, a screenshot."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from metasearch.errors import ConfigError, DataError
from metasearch.tasks.decode import read_picture

_ALIKE = 24  # grey values within which a line of pixels is blank: paper is never quite even
_LEAST = 4  # pixels a side of an image worth the name


def contact_sheet(path: str | Path, grid: str) -> list[Image.Image]:
    """The images of a sheet, line by line, for `Bundle.adapt`; blank places are left out.

    Cuts run through the gaps, where blank lines part the sheet into as many columns and rows as
    `grid` says; else through a sheet without gaps, in equal parts.

    Args:
        path: of the picture; as large, and in such a mode, as any other image may be.
        grid: columns and rows, as "5x2".

    Raises:
        ConfigError: the grid is not two numbers, or its cells would have no size.
        DataError: the picture cannot be read, or is blank all over.
    """
    columns, rows = _grid(grid)
    if not Path(path).is_file():
        raise DataError(f"{path} is no file; give the picture that holds the grid.")
    sheet = read_picture(Path(path).read_bytes())
    if isinstance(sheet, str):
        raise DataError(f"{path} cannot be read ({sheet}). Repair it, or give another.")
    if sheet.width < columns * _LEAST or sheet.height < rows * _LEAST:
        raise ConfigError(
            f"{path} has {sheet.width}x{sheet.height} pixels, too few for {columns} columns and "
            f"{rows} rows of images. Count them again: the grid is columns x rows."
        )
    grey = np.asarray(sheet.convert("L")).astype(np.int16)
    across, down = _cuts(grey.T, columns), _cuts(grey, rows)
    boxes = [(left, top, right, bottom) for top, bottom in down for left, right in across]
    found = [sheet.crop(box) for box in boxes]
    found = [cell for cell in found if np.ptp(np.asarray(cell.convert("L"))) > _ALIKE]
    if not found:
        raise DataError(f"{path} is blank in all of its {len(boxes)} places. Give another sheet.")
    return found


def _grid(grid: str) -> tuple[int, int]:
    sides = re.fullmatch(r"([1-9]\d{0,2})\s*[x×*]\s*([1-9]\d{0,2})", grid.strip().lower())
    if sides is None:
        raise ConfigError(f"a grid of {grid!r}; give columns and rows, such as 5x2.")
    return int(sides[1]), int(sides[2])


def _cuts(lines: np.ndarray, parts: int) -> list[tuple[int, int]]:
    """Where each of `parts` begins and ends along the first axis of [n, m] grey values."""
    blank = np.ptp(lines, axis=1) <= _ALIKE
    edges = np.flatnonzero(np.diff(np.concatenate([[True], blank, [True]]).astype(int)))
    runs = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    sizes = [end - start for start, end in runs]
    if len(runs) == parts and min(sizes) >= _LEAST and 2 * min(sizes) > max(sizes):
        return _with_margins(runs, len(lines))
    even = [round(i * len(lines) / parts) for i in range(parts + 1)]
    return list(pairwise(even))


def _with_margins(runs: list[tuple[int, int]], whole: int) -> list[tuple[int, int]]:
    """Each run with the same margin on both sides: what is drawn keeps its paper around it."""
    gaps = [start - end for (_, end), (start, _) in pairwise(runs)]
    ends = [runs[0][0], whole - runs[-1][1]]
    margin = min([*(gap // 2 for gap in gaps), *ends])
    return [(start - margin, end + margin) for start, end in runs]
