"""The same unseen tasks side by side: what each of the best trials draws, best first."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from metasearch.errors import DataError
from metasearch.observe.sheets import read_sheet
from metasearch.observe.text import number
from metasearch.report.story import Story
from metasearch.search.ledger import Record
from metasearch.trial.report import SampleGrid

SIDE = 64  # pixels; larger pictures are brought down to it
SHOWN = 38  # pixels of a page that a picture takes at least
ACROSS = 4  # pictures beside each other in a cell
MOST = 8  # pictures in a cell
BUDGET = 2_500_000  # bytes of all pictures of a gallery


@dataclass(frozen=True)
class Picture:
    """A strip of pictures, ready to stand in a page."""

    uri: str
    width: int  # pixels of the page
    height: int
    alt: str


@dataclass(frozen=True)
class Cell:
    """What one trial draws of one task."""

    picture: Picture | None
    score: str
    best: bool  # of all trials that are shown, on this task


@dataclass(frozen=True)
class Column:
    """One trial."""

    trial: int
    name: str
    score: str


@dataclass(frozen=True)
class Gallery:
    """Rows are tasks: their name, the support, and a cell for each column."""

    columns: Sequence[Column]
    rows: Sequence[tuple[str, Picture | None, Sequence[Cell]]]

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        heads = "".join(
            f"<th>{escape(c.name)}<br><small>{escape(c.score)}</small></th>" for c in self.columns
        )
        rows = "".join(
            f"<tr><th>{escape(task)}</th><td>{_html(support)}</td>"
            + "".join(f"<td>{_html(c.picture)}<br><small>{c.score}</small></td>" for c in cells)
            + "</tr>"
            for task, support, cells in self.rows
        )
        return f"<table><tr><th>task</th><th>support</th>{heads}</tr>{rows}</table>"


def gallery(story: Story, *, tasks: int = 6, trials: int = 8) -> Gallery:
    """What the best trials draw of the same unseen tasks, and the worst that finished.

    Trials whose sheets are gone or of another format are left out, and so are the last ones where
    the pictures would take too much room.
    """
    leaders = list(story.leaders.records)
    chosen = leaders[:trials] + leaders[max(trials, len(leaders) - 1) :]
    sheets = [(record, grid) for record in chosen if (grid := sheet_of(story, record)) is not None]
    if not sheets:
        return Gallery((), ())
    first = sheets[0][1]
    names = first.tasks[:tasks]
    sheets = [pair for pair in sheets if pair[1].tasks[: len(names)] == names]
    drawn: list[tuple[Record, list[Picture | None]]] = []
    left = BUDGET
    for record, grid in sheets:
        strips = [
            strip(grid.after[i], f"{record.info.name} draws {t}") for i, t in enumerate(names)
        ]
        left -= sum(len(s.uri) for s in strips if s)
        if drawn and left < 0:
            break
        drawn.append((record, strips))
    best = [_best(story, [r for r, _ in drawn], task) for task in names]
    rows = [
        (
            task,
            strip(first.support[i], f"support of {task}", across=3),
            [_cell(record, strips[i], task, best[i]) for record, strips in drawn],
        )
        for i, task in enumerate(names)
    ]
    return Gallery([_column(record) for record, _ in drawn], rows)


def sheet_of(story: Story, record: Record) -> SampleGrid | None:
    """The pictures of a trial's last sheet, if there is one that can be taken apart."""
    path = story.sheet(record)
    try:
        return read_sheet(path) if path else None
    except DataError:
        return None


def strip(pictures: np.ndarray, alt: str, *, across: int = ACROSS) -> Picture | None:
    """Pictures uint8 [n, h, w, c] in lines of `across`, as one PNG; None if there are none."""
    kept = [_fitted(picture) for picture in pictures[:MOST]]
    if not kept:
        return None
    h, w = kept[0].shape[:2]
    lines = math.ceil(len(kept) / across)
    zoom = max(1, math.ceil(SHOWN / max(h, w)))
    gap = max(1, round(2 / zoom))
    wide, high = min(across, len(kept)) * (w + gap) - gap, lines * (h + gap) - gap
    sheet = np.zeros((high, wide, 4), np.uint8)  # what lies between pictures is see-through
    for i, picture in enumerate(kept):
        line, place = divmod(i, across)
        y, x = line * (h + gap), place * (w + gap)
        sheet[y : y + h, x : x + w, :3] = 255 - picture if picture.shape[2] == 1 else picture
        sheet[y : y + h, x : x + w, 3] = 255
    return Picture(_uri(sheet), wide * zoom, high * zoom, alt)


def _fitted(picture: np.ndarray) -> np.ndarray:
    largest = max(picture.shape[:2])
    if largest <= SIDE:
        return picture
    size = tuple(max(1, round(n * SIDE / largest)) for n in picture.shape[1::-1])
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    small = np.asarray(image.resize(size, Image.Resampling.BOX))
    return small[..., None] if small.ndim == 2 else small


def _uri(pixels: np.ndarray) -> str:
    image = Image.fromarray(pixels)
    if (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all():
        image = image.convert("LA")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _best(story: Story, records: Sequence[Record], task: str) -> float | None:
    told = [s for r in records if (s := _told(r, task)) is not None and math.isfinite(s)]
    return min(told, key=lambda s: story.sign * s) if len(told) > 1 else None


def _told(record: Record, task: str) -> float | None:
    return record.last.per_task.get(task) if record.last else None


def _cell(record: Record, picture: Picture | None, task: str, best: float | None) -> Cell:
    score = _told(record, task)
    like = record.outcome.score if record.outcome else None
    return Cell(picture, number(score, like=like), score is not None and score == best)


def _column(record: Record) -> Column:
    assert record.outcome is not None
    return Column(record.number, record.info.name, number(record.outcome.score))


def _html(picture: Picture | None) -> str:
    if picture is None:
        return ""
    size = f'width="{picture.width}" height="{picture.height}"'
    style = 'style="image-rendering:pixelated"'
    return f'<img src="{picture.uri}" {size} {style} alt="{escape(picture.alt)}">'
