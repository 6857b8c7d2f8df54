"""Scales, their ticks, and the frame that a plot stands in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metasearch.drawing.scene import Label, Line, Mark

LEAST_DECADES = 1.0  # below it, a logarithmic scale has ticks like a plain one


@dataclass(frozen=True)
class Scale:
    """From numbers between `low` and `high` to places between `begin` and `end`, in pixels."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a number; what is beyond an end is put there."""
        value = min(max(value, self.low), self.high)
        low, high, here = (self._on(v) for v in (self.low, self.high, value))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.begin + share * (self.end - self.begin)

    def ticks(self, about: int = 5) -> list[float]:
        """Round numbers, evenly apart."""
        if self.log and math.log10(self.high / self.low) >= LEAST_DECADES:
            return _log_ticks(self.low, self.high, about)
        step = nice_step(self.high - self.low, about)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first + 1
        return [(first + i) * step for i in range(max(count, 0))]

    def _on(self, value: float) -> float:
        return math.log(value) if self.log else value


def nice_step(span: float, about: int) -> float:
    """1, 2 or 5 times a power of ten, which divides `span` into about so many parts.

    >>> nice_step(1.0, 5), nice_step(80_000, 4)
    (0.2, 20000.0)
    """
    if not span > 0:
        return 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def _log_ticks(low: float, high: float, about: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / about))
    decades = [10.0**k for k in range(first, last + 1, every)]
    if len(decades) >= 3:
        return decades
    finer = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
    return [value for value in finer if low * 0.999 <= value <= high * 1.001]


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """All with the same decimals; thousands and millions written short.

    >>> tick_texts([0.0, 0.25, 0.5]), tick_texts([0, 20_000, 40_000]), tick_texts([1e-4, 1e-3])
    (['0.00', '0.25', '0.50'], ['0', '20k', '40k'], ['1e-4', '1e-3'])
    """
    largest = max((abs(t) for t in ticks), default=0.0)
    least = min((abs(t) for t in ticks if t), default=1.0)
    if least < 1e-3 and largest / least > 5:
        return [_power(t) for t in ticks]
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= 10 * size:
            return [f"{t / size:g}{unit}" if t else "0" for t in ticks]
    step = min((b - a for a, b in pairwise(ticks)), default=largest or 1.0)
    decimals = next((d for d in range(7) if _whole(step * 10**d)), 6)
    return [f"{t:.{decimals}f}" for t in ticks]


def _whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6 * max(1.0, abs(value))


def _power(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e") if value else "0"


def bounds(values: Iterable[float], pad: float = 0.05) -> tuple[float, float]:
    """The range of what is finite, a little widened."""
    kept = [float(v) for v in values if math.isfinite(v)]
    if not kept:
        return 0.0, 1.0
    low, high = min(kept), max(kept)
    room = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - room, high + room


def robust_bounds(values: Sequence[float], *, lower_is_better: bool) -> tuple[float, float]:
    """The range without what lies far out on the bad side, which would flatten all the rest.

    Beyond three times the distance between the quartiles counts as far out.
    """
    kept = np.array([v for v in values if math.isfinite(v)], np.float64)
    if len(kept) < 4:
        return bounds(kept)
    q1, q3 = np.quantile(kept, [0.25, 0.75])
    reach = 3 * (q3 - q1) or math.inf
    return bounds(kept[kept <= q3 + reach] if lower_is_better else kept[kept >= q1 - reach])


@dataclass(frozen=True)
class Frame:
    """The rectangle of a plot between its scales; y of the page grows downwards."""

    x: Scale
    y: Scale  # begins at the bottom

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        return self.x.at(x), self.y.at(y)

    def marks(self, x_title: str, y_title: str, x_ticks: Sequence[float] = ()) -> list[Mark]:
        """Rules, ticks and titles, to be drawn before anything else."""
        found: list[Mark] = []
        left, right, bottom, top = self.x.begin, self.x.end, self.y.begin, self.y.end
        ticks = self.y.ticks()
        for value, text in zip(ticks, tick_texts(ticks), strict=True):
            y = self.y.at(value)
            found.append(Line([(left, y), (right, y)], "rule", 1))
            found.append(Label(left - 8, y + 4, text, "soft", 11.5, "end"))
        ticks = list(x_ticks) or self.x.ticks()
        for value, text in zip(ticks, tick_texts(ticks), strict=True):
            x = self.x.at(value)
            found.append(Line([(x, bottom), (x, bottom + 4)], "grey", 1))
            found.append(Label(x, bottom + 17, text, "soft", 11.5, "middle"))
        found.append(Line([(left, bottom), (right, bottom)], "grey", 1))
        found.append(Label(right, bottom + 35, x_title, "soft", 11.5, "end"))
        found.append(Label(4, top - 10, y_title, "soft", 11.5))
        return found
