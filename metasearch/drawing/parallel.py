"""Parallel coordinates that keep what lacks a coordinate, and maps of numbers in two directions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from metasearch.drawing.scene import (
    Dot,
    Label,
    Line,
    Mark,
    Point,
    box,
    shortened,
    text_width,
)

TOP, LANES, UNSET = 58.0, 262.0, 310.0  # of the axes: their upper end, their lower, what lacks them
APART, NARROW = 118.0, 84.0  # between axes, and where there are many


@dataclass(frozen=True)
class Lane:
    """An axis: its name, and what stands beside it at places from 0 (below) to 1."""

    name: str
    ticks: Sequence[tuple[float, str]]
    conditional: bool = False  # some threads do not have it


@dataclass(frozen=True)
class Thread:
    """One line through all lanes; None where it has no such coordinate."""

    places: Sequence[float | None]
    colour: str = "grey"
    opacity: float = 0.5
    width: float = 1.0
    note: str = ""


def parallel(lanes: Sequence[Lane], threads: Sequence[Thread]) -> tuple[list[Mark], float, float]:
    """Threads through lanes, those without a coordinate by way of "unset" below; width, height."""
    apart = APART if len(lanes) <= 8 else NARROW
    xs = [70.0 + apart * i for i in range(len(lanes))]
    unset = any(lane.conditional for lane in lanes)
    marks: list[Mark] = []
    for thread in threads:
        points = [
            (x, UNSET if place is None else _y(place))
            for x, place in zip(xs, thread.places, strict=True)
        ]
        line = [p for a, b in pairwise(points) for p in _bent(a, b)]
        marks.append(Line(line, thread.colour, thread.width, thread.opacity, note=thread.note))
    for i, (x, lane) in enumerate(zip(xs, lanes, strict=True)):
        marks += _axis(x, lane, apart, low=bool(i % 2))
    bottom = LANES
    if unset:
        first = next(x for x, lane in zip(xs, lanes, strict=True) if lane.conditional)
        marks.append(Label(first - 12, UNSET + 4, "unset", "soft", 11.5, "end"))
        bottom = UNSET
    return marks, xs[-1] + 76 if xs else 140.0, bottom + 18


def _y(place: float) -> float:
    return LANES + (TOP - LANES) * place


def _axis(x: float, lane: Lane, apart: float, *, low: bool) -> list[Mark]:
    marks: list[Mark] = [Line([(x, TOP), (x, LANES)], "soft", 1.2)]
    if lane.conditional:
        marks.append(Dot(x, UNSET, 3.4, "soft", hollow=True))
    for place, text in lane.ticks:
        shown = shortened(text, apart - 24, 10.5)
        marks.append(Line([(x - 3, _y(place)), (x + 3, _y(place))], "soft", 1))
        backing = box(x + 5, _y(place) - 7.5, text_width(shown, 10.5) + 4, 13, "paper")
        marks.append(replace(backing, opacity=0.78))
        marks.append(Label(x + 7, _y(place) + 3.5, shown, "ink", 10.5))
    # Names alternate between two lines, so that each has twice the room.
    name = shortened(lane.name, 1.8 * apart, 11)
    marks.append(Label(x, 36 if low else 18, name, "ink", 11, "middle", bold=True))
    return marks


def _bent(a: Point, b: Point) -> list[Point]:
    """An S from a to b, which leaves and meets the axes at right angles."""
    steps = [i / 8 for i in range(9)]
    return [
        (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * (0.5 - 0.5 * math.cos(math.pi * t)))
        for t in steps
    ]


def heat(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    ends: tuple[float, float],
    *,
    texts: tuple[str, str],
) -> tuple[list[Mark], float, float]:
    """A cell per row and column, full colour at `ends[1]`, none at `ends[0]`; width, height.

    What is not finite is crossed out. `texts` are the words for both ends in the key.
    """
    left = min(max((text_width(r, 11) for r in rows), default=0) + 14, 220.0)
    wide = min(max(460 / max(len(columns), 1), 13.0), 64.0)
    high, top = (17.0 if len(rows) <= 24 else 13.0), 24.0
    marks: list[Mark] = []
    for i, (row, told) in enumerate(zip(rows, values, strict=True)):
        y = top + high * i
        size = 11.0 if high > 13 else 9.5
        shown = shortened(row, left - 10, size)
        marks.append(Label(left - 8, y + high / 2 + 3.5, shown, "ink", size, "end"))
        for j, value in enumerate(told):
            x = left + wide * j
            cell = box(x, y, wide - 1, high - 1, "accent", f"{row}, {columns[j]}: {value:.4g}")
            if math.isfinite(value):
                share = (value - ends[0]) / (ends[1] - ends[0]) if ends[1] != ends[0] else 0.5
                marks.append(replace(cell, opacity=0.06 + 0.94 * min(max(share, 0.0), 1.0)))
            else:
                corners = [(x + 2, y + 2), (x + wide - 3, y + high - 3)]
                marks.append(Line(corners, "bad", 1.2, note=f"{row}, {columns[j]}: diverged"))
    bottom = top + high * len(rows)
    every = max(1, math.ceil(max((text_width(c, 10.5) for c in columns), default=1) * 1.2 / wide))
    marks.extend(
        Label(left + wide * (j + 0.5), bottom + 14, columns[j], "soft", 10.5, "middle")
        for j in range(0, len(columns), every)
    )
    marks += _key(left, texts)
    width = left + max(wide * len(columns), 24 + text_width("".join(texts), 11) + 90) + 16
    return marks, width, bottom + 24


def _key(left: float, texts: tuple[str, str]) -> list[Mark]:
    begin = left + text_width(texts[0], 11) + 8
    shades = [
        replace(box(begin + 12 * i, 6, 12, 9, "accent"), opacity=0.06 + 0.94 * i / 5)
        for i in range(6)
    ]
    ends = [Label(left, 15, texts[0], "soft", 11), Label(begin + 80, 15, texts[1], "soft", 11)]
    return [*ends, *shades]
