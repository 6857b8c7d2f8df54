"""Designs of one alphabet: the embedded fonts, as they are and redrawn, and which split has which.

A design is a font under a change. Fonts are dealt to splits by family and changes by kind, so a
design of an unseen split has neither a font nor a change that a train task ever showed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
import torch

from metasearch.tasks.base import Split
from metasearch.tasks.cache import Arrays, cached, key_of
from metasearch.tasks.glyph_classes import glyph_classes, glyph_fields
from metasearch.tasks.glyph_fonts import RENDERER, STYLES
from metasearch.tasks.jitter import FRAME, NODES, Pose, draw

MIN_STYLES = 8
"""Characters that fewer styles have would be in the tasks of one family alone."""


@dataclass(frozen=True)
class Change:
    """How a font is redrawn. The frame reaches from -1 to 1; a glyph's ink from -5/7 to 5/7."""

    turn: float = 0.0  # degrees, clockwise
    lean: float = 0.0  # to the right, per height
    climb: float = 0.0  # upwards, per width
    wide: float = 1.0
    high: float = 1.0
    stroke: float = 0.0  # pixels (of 28) by which outlines move out
    wave: float = 0.0  # pixels (of 28) sideways, to and fro from top to bottom
    bulge: float = 0.0  # pixels (of 28) by which the middle is blown up

    def pose(self, n: int) -> Pose:
        """The same for `n` glyphs."""
        angle = np.deg2rad(self.turn)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        slant = np.array([[1, -self.lean], [-self.climb, 1]])
        forth = turn @ slant @ np.diag([self.wide, self.high])
        still = Pose.neutral(n)
        warp = np.zeros((2, NODES, NODES), np.float32)
        warp[0] = self.wave * np.array([[1], [-1], [1], [-1]])
        blown = self.bulge * np.outer([0.5, 1, 1, 0.5], [0, -1, 1, 0])
        warp += [blown, blown.T]
        return Pose(
            matrix=np.tile(np.linalg.inv(forth).astype(np.float32), (n, 1, 1)),
            shift=still.shift,
            scale=still.scale,
            stroke=np.full(n, self.stroke, np.float32),
            warp=np.tile(2 / FRAME * warp, (n, 1, 1, 1)).astype(np.float32),
        )


CHANGES: Mapping[str, Change] = {
    "thick": Change(wide=0.95, high=0.95, stroke=0.7),
    "thin": Change(stroke=-0.45),
    "lean": Change(lean=0.3),
    "turn": Change(turn=14),
    "narrow": Change(wide=0.72),
    "small": Change(wide=0.8, high=0.8),
    "lean-back": Change(lean=-0.25),
    "flat": Change(high=0.72),
    "wave": Change(wave=1.5),
    "turn-back": Change(turn=-14),
    "climb": Change(climb=0.25),
    "fat": Change(wide=1.05, high=0.85, stroke=0.4),
    "sink": Change(climb=-0.25),
    "light": Change(wide=1.05, high=0.9, stroke=-0.35),
    "bulge": Change(wide=0.9, high=0.9, bulge=1.5),
}

PLAN: Mapping[Split, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": (
        tuple(s for s in STYLES if s.startswith("DejaVuSans")),
        ("thick", "thin", "lean", "turn", "narrow"),
    ),
    "inner": (("cmss10", "cmtt10"), ("small",)),
    "search": (("STIXGeneral", "STIXGeneralBol", "cmr10", "cmb10"), ("lean-back", "flat", "wave")),
    "confirm": (("STIXGeneralItalic", "STIXGeneralBolIta"), ("turn-back", "climb", "fat")),
    "test": (tuple(s for s in STYLES if s.startswith("DejaVuSerif")), ("sink", "light", "bulge")),
}
"""The fonts and the changes of each split; every font is also there as it is."""


@dataclass(frozen=True)
class Design:
    """A font, redrawn or not."""

    font: str
    change: str  # of `CHANGES`; empty for the font as it is
    split: Split

    @property
    def name(self) -> str:
        """Such as "cmr10" and "cmr10+thick"."""
        return f"{self.font}+{self.change}" if self.change else self.font


def designs(*, redrawn: bool) -> list[Design]:
    """Every design, by split, font and change; without the redrawn ones if not asked for."""
    return [
        Design(font, change, split)
        for split, (fonts, changes) in PLAN.items()
        for font, change in product(fonts, ("", *changes) if redrawn else ("",))
    ]


def render(made: list[Design], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every character of every design, design by design.

    Returns:
        images uint8 [n, 1, size, size], and of each its design and its character, int [n].

    Raises:
        DataError: matplotlib's fonts are not the ones the characters were chosen from.
        EnvironmentFault: matplotlib is not installed.
    """
    classes = glyph_classes()
    fields = glyph_fields(classes)
    asked = [[d.font, asdict(CHANGES.get(d.change, Change()))] for d in made]
    key = key_of([RENDERER, size, MIN_STYLES, hashlib.sha256(fields.data).hexdigest(), asked])
    owner = np.repeat(np.arange(len(classes)), [len(c.styles) for c in classes])
    style = np.array([s for c in classes for s in c.styles])
    wanted = np.array([len(c.styles) >= MIN_STYLES for c in classes])[owner]
    rows = {font: np.flatnonzero(wanted & (style == font)) for font in STYLES}

    def make() -> Arrays:
        pictures = [
            draw(fields[mine], CHANGES.get(d.change, Change()).pose(len(mine)), size)
            for d, mine in ((d, rows[d.font]) for d in made)
        ]
        return {"images": ((torch.cat(pictures) + 1) * 127.5).round().byte().numpy()}

    images = cached("designs", key, make)["images"]
    design = np.repeat(np.arange(len(made)), [len(rows[d.font]) for d in made])
    return images, design, np.concatenate([owner[rows[d.font]] for d in made])
