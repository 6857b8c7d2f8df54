"""Charts of numbers with their uncertainty: curves, intervals, bars, points, shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from metasearch.drawing.axes import Frame, Scale, bounds, robust_bounds, tick_texts
from metasearch.drawing.scene import (
    Area,
    Dot,
    Label,
    Line,
    Mark,
    Scene,
    box,
    series,
    shortened,
    text_width,
)

LEFT, TOP, BELOW = 58.0, 34.0, 46.0


@dataclass(frozen=True)
class Curve:
    """Points (x, y, low, high) by x; without an interval, its ends are NaN."""

    name: str  # beside its end; empty for none
    points: Sequence[tuple[float, float, float, float]]
    colour: str = "s0"
    faint: bool = False  # one of many in the background
    stepped: bool = False  # a value holds until the next
    dots: bool = False  # mark its points


@dataclass(frozen=True)
class Spot:
    """A point of a scatter."""

    x: float
    y: float
    colour: str = "grey"
    hollow: bool = False
    note: str = ""


@dataclass(frozen=True)
class Axis:
    """What runs along an axis."""

    title: str
    low: float | None = None  # where it begins, if not with the data
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a chart of intervals."""

    name: str
    mean: float
    low: float
    high: float
    colour: str = "ink"
    value: str = ""  # as text, to the right
    hollow: bool = False


def curves(
    lines: Sequence[Curve],
    x: Axis,
    y: Axis,
    *,
    spots: Sequence[Spot] = (),
    lower_is_better: bool = True,
    size: tuple[float, float] = (900.0, 360.0),
) -> list[Mark]:
    """Curves with bands, named at their ends; what lies far out is drawn at the edge."""
    width, height = size
    spots = [spot for spot in spots if math.isfinite(spot.y)]
    named = [line for line in lines if line.name and line.points]
    right = 24 + max((text_width(line.name, 11.5) for line in named), default=0.0)
    told = [p for line in lines for p in line.points]
    xs = [p[0] for p in told] + [s.x for s in spots]
    low, high = _vertical(lines, spots, lower_is_better=lower_is_better)
    begin = x.low if x.low is not None else min(xs, default=0.0)
    frame = Frame(
        Scale(begin, max(xs, default=1.0), LEFT, width - right - 8),
        Scale(
            low if y.low is None else y.low,
            high if y.high is None else y.high,
            height - BELOW,
            TOP,
        ),
    )
    marks = frame.marks(x.title, y.title)
    marks += [mark for line in lines for mark in _band(line, frame)]
    marks += [Dot(*frame.at(s.x, s.y), 3.2, s.colour, s.hollow, s.note) for s in spots]
    marks += [mark for line in lines for mark in _curve(line, frame)]
    return [*marks, *_end_names(named, frame)]


def scene(
    marks: Sequence[Mark], title: str, about: str, size: tuple[float, float] = (900.0, 360.0)
) -> Scene:
    """A drawing of one chart."""
    return Scene(*size, title, about, marks)


def _vertical(
    lines: Sequence[Curve], spots: Sequence[Spot], *, lower_is_better: bool
) -> tuple[float, float]:
    """From all bands of what is in front, and from the bulk of all values."""
    front = [v for line in lines if not line.faint for p in line.points for v in p[1:]]
    every = [p[1] for line in lines for p in line.points] + [s.y for s in spots]
    ends = [*robust_bounds(every, lower_is_better=lower_is_better), *bounds(front or every, 0.0)]
    inner = robust_bounds([*every, *front], lower_is_better=lower_is_better)
    return min(ends[0], inner[0]), max(inner[1], min(ends[1], ends[3]))


def _band(line: Curve, frame: Frame) -> list[Mark]:
    known = [p for p in line.points if math.isfinite(p[2]) and math.isfinite(p[3])]
    if line.faint or len(known) < 2:
        return []
    above = [frame.at(p[0], p[3]) for p in known]
    below = [frame.at(p[0], p[2]) for p in known]
    if line.stepped:
        above, below = _steps(above), _steps(below)
    return [Area([*above, *reversed(below)], line.colour, 0.14)]


def _curve(line: Curve, frame: Frame) -> list[Mark]:
    points = [frame.at(p[0], p[1]) for p in line.points if math.isfinite(p[1])]
    shown = _steps(points) if line.stepped else points
    thick, opacity = (1.0, 0.45) if line.faint else (2.0, 1.0)
    found: list[Mark] = []
    if len(shown) > 1:
        found.append(Line(shown, line.colour, thick, opacity, note=line.name))
    if line.dots or len(points) == 1:
        found += [Dot(*point, 1.8 if line.faint else 3.0, line.colour) for point in points]
    return found


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found = list(points[:1])
    for (_, y0), (x1, y1) in pairwise(points):
        found += [(x1, y0), (x1, y1)]
    return found


def _end_names(lines: Sequence[Curve], frame: Frame) -> list[Mark]:
    """Names beside the ends of curves, moved apart where they would touch."""
    ends = sorted(
        ((frame.y.at(line.points[-1][1]), line) for line in lines), key=lambda pair: pair[0]
    )
    places = spread([y for y, _ in ends], 14.0, TOP, frame.y.begin)
    left = frame.x.end + 10
    return [
        mark
        for place, (_, line) in zip(places, ends, strict=True)
        for mark in (
            Dot(left, place, 3.5, line.colour),
            Label(left + 8, place + 4, line.name, "ink", 11.5),
        )
    ]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending places moved as little as needed to be `gap` apart, within bounds if they fit.

    >>> spread([10.0, 11.0, 40.0], 8.0, 0.0, 50.0)
    [10.0, 18.0, 40.0]
    """
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + gap if found else low))
    over = found[-1] - high if found else 0.0
    for i in reversed(range(len(found))):
        limit = found[i + 1] - gap if i + 1 < len(found) else found[i] - max(over, 0.0)
        found[i] = min(found[i], limit)
    return found


def intervals(rows: Sequence[Row], title: str, *, width: float = 900.0) -> tuple[list[Mark], float]:
    """One line per row: a dot on its interval, names to the left, values to the right; and how
    high that is.
    """
    names = min(max((text_width(r.name, 12.5) for r in rows), default=0) + 18, width * 0.34)
    values = max((text_width(r.value, 12) for r in rows), default=0.0) + 14
    step, top = 27.0, 8.0
    bottom = top + step * len(rows)
    low, high = bounds([v for r in rows for v in (r.mean, r.low, r.high)])
    x = Scale(low, high, names, width - values - 8)
    marks: list[Mark] = []
    ticks = x.ticks()
    for value, text in zip(ticks, tick_texts(ticks), strict=True):
        marks.append(Line([(x.at(value), top), (x.at(value), bottom)], "rule", 1))
        marks.append(Label(x.at(value), bottom + 16, text, "soft", 11.5, "middle"))
    for i, row in enumerate(rows):
        y = top + step * (i + 0.5)
        name = shortened(row.name, names - 12, 12.5)
        marks.append(Label(names - 12, y + 4, name, row.colour, 12.5, "end"))
        if math.isfinite(row.low) and math.isfinite(row.high):
            ends = [(x.at(row.low), y), (x.at(row.high), y)]
            marks.append(Line(ends, row.colour, 5, 0.28))
        if math.isfinite(row.mean):
            marks.append(Dot(x.at(row.mean), y, 5, row.colour, row.hollow, row.value))
        marks.append(Label(width - values, y + 4, row.value, row.colour, 12))
    marks.append(Label(x.end, bottom + 34, title, "soft", 11.5, "end"))
    return marks, bottom + 42


def bars(
    rows: Sequence[tuple[str, float, str, str]], *, most: float = 1.0, width: float = 900.0
) -> tuple[list[Mark], float]:
    """Bars from 0 to at least `most`, rows of (name, value, text, colour); and how high that is."""
    names = min(max((text_width(r[0], 12.5) for r in rows), default=0) + 18, width * 0.42)
    texts = max((text_width(r[2], 12) for r in rows), default=0.0) + 14
    whole = max([most, *(r[1] for r in rows)])
    room, step = width - names - texts, 24.0
    marks: list[Mark] = []
    for i, (name, value, text, colour) in enumerate(rows):
        y = 6 + step * i
        shown = shortened(name, names - 14, 12.5)
        marks.append(Label(names - 10, y + 16, shown, "ink", 12.5, "end"))
        marks.append(box(names, y + 5, room, 13, "rule"))
        length = room * max(value, 0.0) / whole
        if length > 0.5:
            marks.append(box(names, y + 5, length, 13, colour))
        marks.append(Label(names + room + 10, y + 16, text, "soft", 12))
    return marks, 12 + step * len(rows)


def areas(
    shares: Mapping[float, Mapping[str, float]], x_title: str, *, width: float = 900.0
) -> tuple[list[Mark], float]:
    """Shares that sum to 1, one above the other, and their key; and how high that is.

    `shares` is x -> name -> share; an x stands for the stretch that ends there.
    """
    steps = list(shares)
    names = list(dict.fromkeys(name for told in shares.values() for name in told))
    key = min(max(text_width(name, 11.5) for name in names) + 34, width * 0.36)
    line = 17.0
    height = max(170.0, line * len(names) + 4)
    frame = Frame(
        Scale(0, steps[-1], LEFT, width - key - 8), Scale(0, 1, TOP - 18 + height, TOP - 18)
    )
    marks: list[Mark] = []
    for begin, end in pairwise([0.0, *steps]):
        base = 0.0
        for i, name in enumerate(names):
            share = shares[end].get(name, 0.0)
            if share > 0:
                (x0, y0), (x1, y1) = frame.at(begin, base), frame.at(end, base + share)
                note = f"{name}: {share:.0%}"
                marks.append(box(x0, y1, x1 - x0 + 0.4, y0 - y1, series(i), note))
            base += share
    marks.extend(
        Label(LEFT - 8, frame.y.at(value) + 4, f"{value:.0%}", "soft", 11.5, "end")
        for value in (0.0, 0.5, 1.0)
    )
    ticks = frame.x.ticks()
    for value, text in zip(ticks, tick_texts(ticks), strict=True):
        marks.append(Label(frame.x.at(value), frame.y.begin + 17, text, "soft", 11.5, "middle"))
    marks.append(Label(frame.x.end, frame.y.begin + 35, x_title, "soft", 11.5, "end"))
    left = width - key + 6
    for i, name in enumerate(reversed(names)):
        y = frame.y.end + line * i
        marks.append(box(left, y + 2, 11, 11, series(len(names) - 1 - i)))
        marks.append(Label(left + 17, y + 12, shortened(name, key - 26, 11.5), "ink", 11.5))
    return marks, frame.y.begin + 44
