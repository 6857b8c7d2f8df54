"""Pictures of unseen tasks on one labelled sheet: a row per task, support | before | after."""

from __future__ import annotations

import io
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont, PngImagePlugin

from metasearch.drawing.raster import font as font_of
from metasearch.errors import DataError
from metasearch.trial.report import SampleGrid

PAPER = (233, 233, 233)  # a little darker than the white of a picture, so that its edge is seen
INK = (32, 32, 32)
GAP = 2  # pixels between pictures
GUTTER = 18  # between blocks
ROW = 12  # between rows
MARGIN = 14
LEADING = 3  # between the lines of a label
WRAP = 18  # characters of a label on one line
LAYOUT = "metasearch"  # the text chunk of a PNG that says where its pictures are
TITLES = ("support", "before adapting", "after adapting", "the truth")


@dataclass(frozen=True)
class _Block:
    """One kind of pictures: uint8 [tasks, n, h, w, 3], laid out in lines of `columns` per task."""

    title: str
    pictures: np.ndarray
    columns: int
    scale: int  # squares of so many pixels are one of a picture
    width: int
    height: int  # of one row


def sample_grid(samples: SampleGrid, *, cell: int = 56, columns: int = 5) -> Image.Image:
    """Draw `samples` on a light sheet, dark ink on white, enlarged by a whole factor.

    A block without pictures is left out. Labels are wrapped, never cut: the sheet grows instead.

    Args:
        samples: the pictures; single-channel ones hold ink as light and are shown inverted.
        cell: a picture is enlarged until its longer side has at least so many pixels.
        columns: at most so many pictures stand beside each other in a block.

    Raises:
        DataError: a block is not uint8 [tasks, n, h, w, 1 or 3] with one row per task.
    """
    font = font_of(15)
    blocks = _blocks(samples, font, cell, columns)
    labels = [_wrapped(name) for name in samples.tasks]
    line = _size("Ag", font)[1] + LEADING
    label_width = max((_size(text, font)[0] for label in labels for text in label), default=0)
    heights = [
        max([len(label) * line - LEADING, *(block.height for block in blocks)]) for label in labels
    ]
    top = MARGIN + line + ROW // 2
    width = 2 * MARGIN + label_width + sum(GUTTER + block.width for block in blocks)
    height = top + sum(heights) + ROW * max(0, len(heights) - 1) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    lefts = [MARGIN + label_width + GUTTER]
    for block in blocks:
        pen.text((lefts[-1], MARGIN), block.title, fill=INK, font=font)
        lefts.append(lefts[-1] + block.width + GUTTER)
    y, tops = top, []
    for task, (label, row_height) in enumerate(zip(labels, heights, strict=True)):
        for i, text in enumerate(label):
            pen.text((MARGIN, y + i * line), text, fill=INK, font=font)
        for left, block in zip(lefts, blocks, strict=False):
            sheet.paste(_row(block, task), (left, y))
        tops.append(y)
        y += row_height + ROW
    sheet.info[LAYOUT] = json.dumps(_layout(samples, blocks, lefts, tops))
    return sheet


def to_png(image: Image.Image) -> bytes:
    """The file a viewer opens; one channel suffices for what has no colour."""
    sheet = image
    if image.mode == "RGB" and _is_grey(image):
        image = image.convert("L")
    buffer = io.BytesIO()
    note = PngImagePlugin.PngInfo()
    if LAYOUT in sheet.info:
        note.add_text(LAYOUT, sheet.info[LAYOUT])
    image.save(buffer, format="PNG", pnginfo=note, compress_level=1)  # 2.5 times as quick as 6
    return buffer.getvalue()


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = image.split()
    return not any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def _blocks(
    samples: SampleGrid, font: ImageFont.FreeTypeFont, cell: int, columns: int
) -> list[_Block]:
    blocks = []
    arrays = (samples.support, samples.before, samples.after, samples.truth)
    for title, pictures in zip(TITLES, arrays, strict=True):
        if pictures is None:
            continue
        _check(title, pictures, len(samples.tasks))
        n = pictures.shape[1]
        if n == 0:
            continue
        lines = math.ceil(n / columns)
        even = math.ceil(n / lines)  # 8 pictures: two lines of 4, not 5 and 3
        scale = max(1, math.ceil(cell / max(pictures.shape[2:4])))
        shown = _dark_on_light(pictures).repeat(scale, axis=2).repeat(scale, axis=3)
        h, w = shown.shape[2:4]
        width = max(even * (w + GAP) - GAP, _size(title, font)[0])
        blocks.append(_Block(title, shown, even, scale, width, lines * (h + GAP) - GAP))
    return blocks


def _check(title: str, pictures: np.ndarray, tasks: int) -> None:
    fits = pictures.ndim == 5 and pictures.shape[0] == tasks and pictures.shape[-1] in {1, 3}
    if not fits or pictures.dtype != np.uint8:
        raise DataError(
            f"{title}: got {pictures.dtype} {list(pictures.shape)}; a sheet takes uint8 "
            f"[{tasks} tasks, n, h, w, 1 or 3]. Convert the pictures before reporting them."
        )


def _dark_on_light(pictures: np.ndarray) -> np.ndarray:
    if pictures.shape[-1] == 3:
        return pictures
    return np.repeat(255 - pictures, 3, axis=-1)


def _row(block: _Block, task: int) -> Image.Image:
    """The pictures of one task in one block."""
    h, w = block.pictures.shape[2:4]
    row = Image.new("RGB", (block.width, block.height), PAPER)
    for i, picture in enumerate(block.pictures[task]):
        line, column = divmod(i, block.columns)
        row.paste(Image.fromarray(picture), (column * (w + GAP), line * (h + GAP)))
    return row


def _layout(
    samples: SampleGrid, blocks: Sequence[_Block], lefts: Sequence[int], tops: Sequence[int]
) -> dict[str, object]:
    """Where the pictures are, for `sheets.read_sheet`."""
    return {
        "tasks": list(samples.tasks),
        "tops": list(tops),
        "channels": samples.support.shape[-1],
        "blocks": [
            {
                "title": block.title,
                "left": left,
                "shape": list(block.pictures.shape[1:4]),  # n, h, w, enlarged
                "columns": block.columns,
                "scale": block.scale,
            }
            for block, left in zip(blocks, lefts, strict=False)
        ],
    }


def _wrapped(name: str) -> list[str]:
    """A task's name on one line if it is short, else broken after its slashes."""
    *groups, last = name.split("/")
    segments = [name] if len(name) <= WRAP else [*(group + "/" for group in groups), last]
    return [line for segment in segments for line in textwrap.wrap(segment, WRAP)]


def _size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    left, top, right, bottom = font.getbbox(text)
    return math.ceil(right - min(0, left)), math.ceil(bottom - min(0, top))
