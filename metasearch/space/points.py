"""Recipes as points of a cube with a side for each draw, and all recipes of a finite tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from metasearch.space.faults import check
from metasearch.space.grammar import Draw, Label
from metasearch.space.sampling import trace


class _Values:
    """Decides on draws by picking one of `n` cells, or a place in [0, 1); keeps what came out."""

    def __init__(self, cell: Callable[[str, int], int], place: Callable[[str], float]) -> None:
        self.params: dict[str, Any] = {}
        self._cell = cell
        self._place = place

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = _between(self._place(name), low, high, log=log)
        self.params[name] = min(max(value, low), high)
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        if log:  # half a step around each number, so that the ends are as likely as they should be
            value = round(_between(self._place(name), low - 0.5, high + 0.5, log=True))
            self.params[name] = min(max(value, low), high)
        else:
            self.params[name] = low + self._cell(name, high - low + 1)
        return self.params[name]

    def suggest_categorical(self, name: str, choices: Sequence[Label]) -> Label:
        self.params[name] = choices[self._cell(name, len(choices))]
        return self.params[name]


def point_at(tree: Any, places: Mapping[str, float]) -> dict[str, Any]:
    """The values of the draws at a point of the cube; places of draws it does not have are unused.

    Args:
        tree: may hold draws.
        places: path of a draw -> a number in [0, 1), for every draw there is.

    Raises:
        ConfigError: the tree breaks the grammar.
    """
    check(tree)
    values = _Values(lambda name, n: min(int(places[name] * n), n - 1), places.__getitem__)
    trace(tree, values)
    return values.params


def place_of(draw: Draw, value: Any) -> float:
    """Where in [0, 1] a value of a draw lies: of a whole number or an option, the cell's middle."""
    if draw.kind == "choice":
        return (draw.options.index(value) + 0.5) / len(draw.options)
    assert draw.low is not None, "draws other than choices have bounds"
    assert draw.high is not None, "draws other than choices have bounds"
    low, high = draw.low, draw.high
    if draw.kind.endswith("integers"):
        low, high = low - 0.5, high + 0.5
    if draw.kind.startswith("log"):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5


def recipes(tree: Any) -> Iterator[dict[str, Any]]:
    """The values of the draws of every recipe of a tree that draws nothing continuous.

    Raises:
        ConfigError: the tree breaks the grammar.
    """
    check(tree)
    picked: list[int] = []
    while True:
        sizes: list[int] = []

        def cell(_: str, n: int, sizes: list[int] = sizes) -> int:
            if len(sizes) == len(picked):
                picked.append(0)
            sizes.append(n)
            return picked[len(sizes) - 1]

        values = _Counted(cell)
        trace(tree, values)
        yield values.params
        while picked and picked[-1] + 1 == sizes[len(picked) - 1]:
            picked.pop()
        if not picked:
            return
        picked[-1] += 1


class _Counted(_Values):
    """Whole numbers are told apart on any scale."""

    def __init__(self, cell: Callable[[str, int], int]) -> None:
        super().__init__(cell, _uncountable)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:  # noqa: ARG002
        return super().suggest_int(name, low, high)


def _uncountable(name: str) -> float:
    raise AssertionError(f"{name} is continuous: there is no list of all its values")


def _between(place: float, low: float, high: float, *, log: bool) -> float:
    if log:
        return math.exp(_between(place, math.log(low), math.log(high), log=False))
    return low + place * (high - low)
