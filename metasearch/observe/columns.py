"""What is searched, as the typed columns of a table over all trials.

A search space is conditional, a table is not. So every draw of the space is a column from the
start; a conditional choice that a trial does not have reads "n/a", and a number it does not have
is left out, for no number would be true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from metasearch.observe.base import Draw

Cell: TypeAlias = bool | float | str

ABSENT = "n/a"
FIRST = 5  # TensorBoard shows so many columns unasked
_HEADS = (r"models\[\d+\]", r"algorithms\[\d+\]", r"strategy\.\w+")


@dataclass(frozen=True)
class Column:
    """One draw: its options, or if there are none, a number between `low` and `high`."""

    name: str
    note: str  # "1e-4 to 0.1, log; only if models[0] is vae"
    options: tuple[Cell, ...] = ()
    low: float = 0.0
    high: float = 0.0
    first: bool = False  # to be shown without being asked for


def columns(draws: Sequence[Draw]) -> list[Column]:
    """One column per draw; those to show first are families and strategies, never a number that
    some trials lack.
    """
    shown = {draw.path for draw in sorted(draws, key=_prominence)[:FIRST] if _always_there(draw)}
    return [_column(draw, first=draw.path in shown) for draw in draws]


def cells(columns: Sequence[Column], params: Mapping[str, Any]) -> dict[str, Cell]:
    """One trial's row, by column name."""
    row: dict[str, Cell] = {}
    for column in columns:
        if column.name in params:
            value = params[column.name]
            row[column.name] = _as_option(value, column) if column.options else float(value)
        elif ABSENT in column.options:
            row[column.name] = ABSENT
    return row


def _column(draw: Draw, *, first: bool) -> Column:
    above = " and ".join(f"{path} is {label}" for path, label in draw.only_if)
    condition = f"; only if {above}" if above else ""
    if draw.kind == "choice":
        options = _uniform_type(draw.options, extra=(ABSENT,) if draw.only_if else ())
        note = " | ".join(_word(option) for option in draw.options) + condition
        return Column(draw.path, note, options, first=first)
    assert draw.low is not None  # the grammar gives a number both bounds
    assert draw.high is not None
    scale = ", log" if draw.kind.startswith("log") else ""
    note = f"{draw.low:g} to {draw.high:g}{scale}{condition}"
    return Column(draw.path, note, low=draw.low, high=draw.high, first=first)


def _uniform_type(options: Sequence[Any], extra: tuple[str, ...]) -> tuple[Cell, ...]:
    """A column has one type: all booleans, all numbers, or else words."""
    if not extra and all(isinstance(option, bool) for option in options):
        return tuple(options)
    if not extra and all(_is_number(option) for option in options):
        return tuple(float(option) for option in options)
    return (*(_word(option) for option in options), *extra)


def _as_option(value: Any, column: Column) -> Cell:
    if isinstance(column.options[0], bool):
        return bool(value)
    return float(value) if isinstance(column.options[0], float) else _word(value)


def _word(option: Any) -> str:
    """An option as a search file writes it."""
    words = {None: "null", True: "true", False: "false"}
    return words[option] if option is None or isinstance(option, bool) else str(option)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _always_there(draw: Draw) -> bool:
    return draw.kind == "choice" or not draw.only_if


def _prominence(draw: Draw) -> tuple[int, bool, str]:
    kind = next((i for i, head in enumerate(_HEADS) if re.fullmatch(head, draw.path)), len(_HEADS))
    return (kind if _always_there(draw) else len(_HEADS) + 1, bool(draw.only_if), draw.path)
