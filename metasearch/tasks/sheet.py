"""A task source at a glance: numbers for a terminal, and a contact sheet for the eye."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from metasearch.errors import DataError
from metasearch.rng import Stream
from metasearch.tasks.base import SPLITS, Split, TaskDistribution, TaskId, image_domains
from metasearch.tasks.wrapping import Described

_SEED = 0  # of what a sheet shows: equal sources, equal sheets
_CELL = 56  # pixels a picture takes
_GAP = 4
_LABEL = 190  # pixels for a task's name
_HEAD = 34  # pixels for a split's heading
_PAPER, _INK, _FAINT = (250, 250, 248), (32, 32, 36), (120, 120, 128)
_FRAME = (226, 226, 222)


def summary(source: Described) -> dict[str, Any]:
    """What a source holds, as JSON-like data: counts, sizes, leaks, fingerprint, remarks."""
    everything = [t for s in SPLITS for t in source.tasks(s)]
    return {
        "tasks": len(everything),
        "images": sum(source.count(t) for t in everything),
        "shape": list(source.shape),
        "domains": list(source.domains),
        "augmented": source.augmented,
        "splits": {split: _of_split(source, split) for split in SPLITS},
        "leaks": {
            "clean": source.leaks.clean,
            "same_images": source.leaks.same_bytes,
            "near_classes": source.leaks.near_classes,
            "dropped": list(source.leaks.dropped),
            "examples": list(source.leaks.examples),
        },
        "fingerprint": source.fingerprint,
        "notes": dict(source.notes),
    }


def _of_split(source: Described, split: Split) -> dict[str, Any]:
    tasks = source.tasks(split)
    counts = sorted(source.count(t) for t in tasks)
    groups = Counter(source.group(t) for t in tasks)
    alone = len(groups) == len(tasks)
    return {
        "tasks": len(tasks),
        "groups": len(groups),
        "tasks_by_group": {} if alone else dict(sorted(groups.items())),
        "images": sum(counts),
        "images_per_task": {
            "min": counts[0] if counts else 0,
            "median": float(np.median(counts)) if counts else 0.0,
            "max": counts[-1] if counts else 0,
        },
    }


def contact_sheet(
    source: TaskDistribution, path: Path, *, tasks: int = 4, pictures: int = 12
) -> None:
    """Write a PNG with a few tasks of each split: images as stored, and as episodes bring them.

    The second row of a task is left out where episodes bring stored images as they are. Of pairs,
    a row shows each domain, in a paired source the same thing above each other.

    Args:
        source: opened tasks, of one domain of images or of several.
        path: of the PNG; its folder must exist.
        tasks: how many of each split.
        pictures: how many of each task.
    """
    shown = {split: _some(source.tasks(split), tasks, split) for split in SPLITS}
    rows = {task: _rows(source, task, pictures) for some in shown.values() for task in some}
    height = sum(_HEAD + sum(_height(rows[t]) for t in some) for some in shown.values())
    width = _LABEL + pictures * (_CELL + _GAP) + 2 * _GAP
    sheet = Image.new("RGB", (width, height + 2 * _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    y = _GAP
    for split, some in shown.items():
        _heading(pen, source, split, y)
        y += _HEAD
        for task in some:
            _print_task(sheet, task, rows[task], y)
            y += _height(rows[task])
    sheet.save(path, format="PNG")


def _some(tasks: Sequence[TaskId], n: int, split: Split) -> list[TaskId]:
    order = Stream(_SEED).at("sheet", split).numpy().permutation(len(tasks))
    return sorted(tasks[i] for i in order[:n])


def _rows(source: TaskDistribution, task: TaskId, n: int) -> list[tuple[str, np.ndarray]]:
    """Labelled rows of pictures, uint8 [n, h, w, 3]."""
    domains = image_domains(source.domains)
    if len(domains) > 1:
        sides = source.images(task)
        return [(f"{d}: {len(sides[d])}", _ink_dark(sides[d][:n])) for d in domains]
    (domain,) = domains
    stored = source.images(task)[domain]
    negative = stored.shape[1] == 1 and float(stored.mean()) < 0  # mostly dark: ink, not a photo
    rows = [(f"stored: {len(stored)}", _to_rgb(stored[:n], negative=negative))]
    try:
        rng = Stream(_SEED).at("sheet")
        drawn = source.episodes([task], shot=n, query=0, rng=rng).support[domain]
    except DataError:  # fewer are stored, and none are made up
        return rows
    known = {picture.numpy().tobytes() for picture in stored}
    if any(picture.numpy().tobytes() not in known for picture in drawn):
        rows.append(("as drawn", _to_rgb(drawn, negative=negative)))
    return rows


def _ink_dark(images: Tensor) -> np.ndarray:
    return _to_rgb(images, negative=images.shape[1] == 1 and float(images.mean()) < 0)


def _to_rgb(images: Tensor, *, negative: bool) -> np.ndarray:
    pixels = ((images + 1) * 127.5).round().byte()
    pixels = 255 - pixels if negative else pixels
    return pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()


def _height(rows: Sequence[tuple[str, np.ndarray]]) -> int:
    return len(rows) * (_CELL + _GAP) + 2 * _GAP


def _heading(pen: ImageDraw.ImageDraw, source: TaskDistribution, split: Split, y: int) -> None:
    names = source.tasks(split)
    pen.text((2 * _GAP, y + 8), split, fill=_INK, font=ImageFont.load_default(17))
    groups = sorted({name.rpartition("/")[0] for name in names} - {""})
    about = f"{len(names)} task{'s' * (len(names) != 1)}" + (": " if groups else "")
    about += _clipped(", ".join(groups), 110)
    pen.text((90, y + 12), about, fill=_FAINT, font=ImageFont.load_default(12))


def _print_task(
    sheet: Image.Image, task: TaskId, rows: Sequence[tuple[str, np.ndarray]], y: int
) -> None:
    pen = ImageDraw.Draw(sheet)
    group, _, name = task.rpartition("/")
    pen.text((2 * _GAP, y + 2), _clipped(name), fill=_INK, font=ImageFont.load_default(12))
    pen.text((2 * _GAP, y + 19), _clipped(group), fill=_FAINT, font=ImageFont.load_default(11))
    for line, (kind, pictures) in enumerate(rows):
        top = y + line * (_CELL + _GAP)
        pen.text((2 * _GAP, top + 36), kind, fill=_FAINT, font=ImageFont.load_default(11))
        for i, picture in enumerate(pictures):
            left = _LABEL + i * (_CELL + _GAP)
            whole = max(1, _CELL // picture.shape[0]) * picture.shape[0]
            side, how = (whole, "NEAREST") if whole <= _CELL else (_CELL, "LANCZOS")
            cell = Image.fromarray(picture).resize((side, side), Image.Resampling[how])
            inset = (_CELL - side) // 2
            pen.rectangle((left - 1, top - 1, left + _CELL, top + _CELL), _FRAME)
            sheet.paste(cell, (left + inset, top + inset))


def _clipped(text: str, longest: int = 30) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
