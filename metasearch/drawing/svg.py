"""A scene as SVG, to stand in a page. Nothing is loaded, and all text is escaped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html import escape

from metasearch.drawing.scene import LIGHT, Area, Dot, Label, Line, Mark, Point, Scene

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def to_svg(scene: Scene, key: str = "") -> str:
    """An `svg` element with a title and a description; colours follow the page's variables.

    `key` tells equal drawings on one page apart.
    """
    body = "".join(_mark(mark) for mark in scene.marks)
    name = "c" + hashlib.sha256(f"{key}\n{scene.title}\n{body}".encode()).hexdigest()[:10]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(scene.width)} '
        f'{_n(scene.height)}" width="{_n(scene.width)}" height="{_n(scene.height)}" role="img" '
        f'aria-labelledby="{name}t {name}d" font-family="{FONT}">'
        f'<title id="{name}t">{escape(scene.title)}</title>'
        f'<desc id="{name}d">{escape(scene.about)}</desc>{body}</svg>'
    )


def colour(role: str) -> str:
    """A role as a colour that a page may redefine."""
    return f"var(--{role},{LIGHT[role]})"


def _mark(mark: Mark) -> str:
    if isinstance(mark, Line):
        return _line(mark)
    if isinstance(mark, Area):
        opacity = "" if mark.opacity == 1 else f' fill-opacity="{_n(mark.opacity)}"'
        shape = f'<polygon points="{_points(mark.points)}" fill="{colour(mark.colour)}"{opacity}'
        return _noted(shape, "polygon", mark.note)
    if isinstance(mark, Dot):
        return _dot(mark)
    return _label(mark)


def _line(mark: Line) -> str:
    more = "" if mark.opacity == 1 else f' stroke-opacity="{_n(mark.opacity)}"'
    more += ' stroke-dasharray="4 4"' if mark.dashed else ""
    shape = (
        f'<polyline points="{_points(mark.points)}" fill="none" stroke="{colour(mark.colour)}" '
        f'stroke-width="{_n(mark.width)}" stroke-linejoin="round"{more}'
    )
    return _noted(shape, "polyline", mark.note)


def _dot(mark: Dot) -> str:
    ring = f'fill="{colour("paper")}" stroke="{colour(mark.colour)}" stroke-width="1.5"'
    paint = ring if mark.hollow else f'fill="{colour(mark.colour)}"'
    shape = f'<circle cx="{_n(mark.x)}" cy="{_n(mark.y)}" r="{_n(mark.radius)}" {paint}'
    return _noted(shape, "circle", mark.note)


def _label(mark: Label) -> str:
    anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
    weight = ' font-weight="600"' if mark.bold else ""
    return (
        f'<text x="{_n(mark.x)}" y="{_n(mark.y)}" font-size="{_n(mark.size)}" '
        f'fill="{colour(mark.colour)}"{anchor}{weight}>{escape(mark.text)}</text>'
    )


def _noted(shape: str, element: str, note: str) -> str:
    return f"{shape}><title>{escape(note)}</title></{element}>" if note else f"{shape}/>"


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(value: float) -> str:
    """A length with as many decimals as can be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
