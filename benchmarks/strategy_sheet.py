"""The sheet of `benchmarks.strategies`: gaps to random choice with their intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, SMALL = (32, 32, 32), ImageFont.load_default(11)


def axis_of(cell: str) -> str:
    """What a cell chooses among."""
    return cell.partition(":")[0]


def settled(row: Mapping[str, Any]) -> bool:
    """Whether a difference is there, with all that a regime compares taken into account."""
    return bool(row["holm"] < 0.05)


def draw(every: Mapping[str, Sequence[Mapping[str, Any]]], order: Collection[str]) -> Image.Image:
    """Gaps to random with their intervals: a column for each regime, for each axis a scale.

    Cells that no row is of are left out of `order`.
    """
    cells = [c for c in order if any(row["cell"] == c for rows in every.values() for row in rows)]
    axes = list(dict.fromkeys(map(axis_of, cells)))
    wide, line, left, top, foot = 220, 24, 150, 44, 34
    height = top + line * len(cells) + foot * len(axes)
    sheet = Image.new("RGB", (left + wide * len(every), height), (250, 250, 250))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, regime in enumerate(every):
        pen.text((left + wide * (i + 0.5), 14), regime, INK, font, anchor="mm")
    y = top
    for axis in axes:
        own = [cell for cell in cells if axis_of(cell) == axis]
        of = [{r["cell"]: r for r in rows if axis_of(r["cell"]) == axis} for rows in every.values()]
        ends = [abs(r[k]) for rows in of for r in rows.values() for k in ("low", "high")]
        for j, cell in enumerate(own):
            pen.text((8, y + line * j + 12), cell, INK, font, anchor="lm")
        below = y + line * len(own)
        for i, rows in enumerate(of):
            panel = Panel(left + wide * i + 12, wide - 24, 1.05 * max(ends, default=1.0))
            for j, cell in enumerate(own):
                if cell in rows:
                    panel.interval(pen, rows[cell], y + line * j + 12)
            pen.line([panel.at(0), y, panel.at(0), below], (170, 170, 170))
            for value in (-panel.reach, 0, panel.reach):
                text = f"{value:+.1f} nats" if value else "random"
                anchor = {-1: "lm", 0: "mm", 1: "rm"}[int(np.sign(value))]
                pen.text((panel.at(value), below + 10), text, (110, 110, 110), SMALL, anchor=anchor)
        y = below + foot
    return sheet


@dataclass(frozen=True)
class Panel:
    """A stretch of a sheet on which nats have their place."""

    left: float
    wide: float
    reach: float  # nats at either end

    def at(self, value: float) -> float:
        """Where so many nats are."""
        return self.left + self.wide * (value / self.reach + 1) / 2

    def interval(self, pen: ImageDraw.ImageDraw, row: Mapping[str, Any], y: float) -> None:
        """Blue where better than random choice, orange where worse, grey where unsettled."""
        colour = (130, 130, 130)
        if settled(row):
            colour = (0, 114, 178) if row["gap"] < 0 else (213, 94, 0)
        pen.line([self.at(row["low"]), y, self.at(row["high"]), y], colour, 3)
        x = self.at(row["gap"])
        pen.ellipse([x - 4, y - 4, x + 4, y + 4], colour)
