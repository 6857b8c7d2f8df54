"""A drawing as plain shapes with named colours. It is known neither where it is shown nor how.

Lengths are pixels of a page, y grows downwards. Colours are roles, so that a page may show the
same drawing dark or light: "ink", "soft", "rule", "paper", "accent", "s0" ... "s9".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Point: TypeAlias = tuple[float, float]
Anchor: TypeAlias = Literal["start", "middle", "end"]

LIGHT = {
    "paper": "#ffffff", "ink": "#1b1e23", "soft": "#5a626d", "rule": "#dfe2e6", "grey": "#a9b0b9",
    "accent": "#0b62a4", "good": "#0b7a5b", "bad": "#b3441e",
    # Of Okabe & Ito's palette, which the colour-blind can tell apart, then the same ones lighter.
    "s0": "#0072b2", "s1": "#e69f00", "s2": "#009e73", "s3": "#cc79a7", "s4": "#56b4e9",
    "s5": "#d55e00", "s6": "#80b8d8", "s7": "#f4cf80", "s8": "#80ceba", "s9": "#e5bcd3",
    "s10": "#aad9f4", "s11": "#eaae80",
}  # fmt: skip
"""What each role looks like on a light page."""

SERIES = 12  # colours to tell series apart


def series(i: int) -> str:
    """The colour of the i-th of several things; after the last they begin anew."""
    return f"s{i % SERIES}"


@dataclass(frozen=True)
class Line:
    """A line through points."""

    points: Sequence[Point]
    colour: str = "ink"
    width: float = 1.5
    opacity: float = 1.0
    dashed: bool = False
    note: str = ""  # shown when pointed at


@dataclass(frozen=True)
class Area:
    """A filled polygon."""

    points: Sequence[Point]
    colour: str = "accent"
    opacity: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Dot:
    """A disc, or a ring if hollow."""

    x: float
    y: float
    radius: float = 3.0
    colour: str = "accent"
    hollow: bool = False
    note: str = ""


@dataclass(frozen=True)
class Label:
    """A line of text whose baseline is at y."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    size: float = 12.0
    anchor: Anchor = "start"
    bold: bool = False


Mark: TypeAlias = Line | Area | Dot | Label


@dataclass(frozen=True)
class Scene:
    """A drawing, with what it shows in words for whoever cannot see it."""

    width: float
    height: float
    title: str
    about: str
    marks: Sequence[Mark]

    def _repr_html_(self) -> str:
        """As a notebook shows it: with its title, and on paper, for a notebook may be dark."""
        from metasearch.drawing.svg import to_svg

        return f'<div style="background:{LIGHT["paper"]}">{to_svg(self.with_title())}</div>'

    def with_title(self) -> Scene:
        """The same with its title above it, for where no page says it."""
        room = 26.0
        moved = [_lowered(mark, room) for mark in self.marks]
        head = Label(8, 18, self.title, size=13.5, bold=True)
        return replace(self, height=self.height + room, marks=[head, *moved])


def box(x: float, y: float, width: float, height: float, colour: str, note: str = "") -> Area:
    """A filled rectangle."""
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return Area(corners, colour, note=note)


def _lowered(mark: Mark, by: float) -> Mark:
    if isinstance(mark, Line | Area):
        return replace(mark, points=[(x, y + by) for x, y in mark.points])
    return replace(mark, y=mark.y + by)


def text_width(text: str, size: float = 12.0) -> float:
    """About how wide a text is, in any common sans-serif font.

    >>> text_width("iii") < text_width("mmm")
    True
    """
    narrow, wide = set("ijl.,:;'|![]() ftr"), set("mwMWQGO@%")
    units = sum(0.38 if c in narrow else 0.92 if c in wide else 0.62 for c in text)
    return units * size


def shortened(text: str, room: float, size: float = 12.0) -> str:
    """A text that fits into so many pixels, its middle left out if it must be.

    >>> shortened("models[0].vae.objective.beta", 100)
    'models…ve.beta'
    """
    if text_width(text, size) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        head = kept // 2
        tried = f"{text[:head]}…{text[head - kept :]}"
        if text_width(tried, size) <= room:
            return tried
    return "…"
