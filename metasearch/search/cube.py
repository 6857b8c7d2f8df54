"""The draws of a space as sides of a cube, for models that know numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from metasearch import space
from metasearch.space import Draw

ABSENT = -1.0  # the coordinate of an option where there is none to be picked


@dataclass(frozen=True)
class Cube:
    """A side for each draw, branches included.

    A recipe has a place, in [0, 1) on each side, of which `space.point_at` makes it; many places
    make one recipe. Its coordinates are the same for all of those: options that are numbers in
    order lie on a scale, others are numbered. What a recipe does not draw, for it is in a branch
    that was not picked, counts as an option of its own, and of numbers as the middle.

    Source: draws in branches as in Lévesque et al., "Bayesian Optimization for Conditional
    Hyperparameter Spaces", IJCNN 2017.
    """

    draws: Sequence[Draw]

    @cached_property
    def words(self) -> np.ndarray:
        """[draws], whether options are without order."""
        return np.array([draw.kind == "choice" and not _ordered(draw) for draw in self.draws], bool)

    def places(self, params: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """A place of each recipe, [recipes, draws]; the middle of what it does not draw."""
        rows = [
            [space.place_of(d, one[d.path]) if d.path in one else 0.5 for d in self.draws]
            for one in params
        ]
        return np.clip(np.array(rows).reshape(len(rows), len(self.draws)), 0.0, 1 - 1e-12)

    def named(self, place: np.ndarray) -> dict[str, float]:
        """As `space.point_at` takes it."""
        return {draw.path: float(u) for draw, u in zip(self.draws, place, strict=True)}

    def coordinates(self, places: np.ndarray) -> np.ndarray:
        """Those of the recipes at `places`, [recipes, draws]."""
        cells = {
            draw.path: np.minimum((side * len(draw.options)).astype(int), len(draw.options) - 1)
            for draw, side in zip(self.draws, places.T, strict=True)
            if draw.kind == "choice"
        }
        found = np.empty_like(places)
        for i, draw in enumerate(self.draws):
            there = np.ones(len(places), bool)
            for path, label in draw.only_if:
                there &= cells[path] == self._options[path].index(label)
            if draw.kind == "choice":
                values = cells[draw.path] / max(len(draw.options) - 1, 1)
            else:
                values = _settled(draw, places[:, i])
            found[:, i] = np.where(there, values, ABSENT if self.words[i] else 0.5)
        return found

    def near(
        self, places: np.ndarray, width: float, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        """So many places around each: some draws are moved, options anywhere."""
        base = np.repeat(places, count, axis=0)
        moved = base + width * rng.normal(size=base.shape)
        choices = np.array([draw.kind == "choice" for draw in self.draws], bool)
        moved = np.where(choices, rng.random(base.shape), np.abs(moved))
        moved = np.where(moved < 1, moved, 2 - moved)  # what leaves a side comes back
        moves = rng.random(base.shape) < max(2 / len(self.draws), 0.1)
        return np.clip(np.where(moves, moved, base), 0.0, 1 - 1e-12)

    @cached_property
    def _options(self) -> dict[str, list[Any]]:
        return {draw.path: list(draw.options) for draw in self.draws}


def _ordered(draw: Draw) -> bool:
    numbers = all(type(option) in {int, float} for option in draw.options)
    return numbers and list(draw.options) in (sorted(draw.options), sorted(draw.options)[::-1])


def _settled(draw: Draw, places: np.ndarray) -> np.ndarray:
    """Where whole numbers lie in the middle of their cells; others are where they are."""
    if not draw.kind.endswith("integers"):
        return places
    assert draw.low is not None, "draws other than choices have bounds"
    assert draw.high is not None, "draws other than choices have bounds"
    low, high = draw.low - 0.5, draw.high + 0.5
    if draw.kind == "integers":
        values = draw.low + np.floor(places * (high - low))
        return (np.minimum(values, draw.high) - low) / (high - low)
    scale = math.log(high / low)
    values = np.clip(np.round(low * np.exp(places * scale)), draw.low, draw.high)
    return np.log(values / low) / scale
