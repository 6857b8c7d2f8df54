"""Means over tasks with their uncertainty, and paired comparisons. NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from metasearch.errors import EnvironmentFault
from metasearch.rng import Stream

LEVEL = 0.95
RESAMPLES = 4000


class Interval(NamedTuple):
    """A mean over tasks and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Difference:
    """``a - b`` over the tasks where both are finite."""

    mean: float
    low: float  # 95 % bootstrap interval
    high: float
    values: np.ndarray  # [tasks that were compared]
    missing: int  # tasks where one of the two is not finite

    @cached_property
    def p(self) -> float:
        """The p-value of Wilcoxon's signed-rank test, two-sided; 1 if nothing differs.

        Raises:
            EnvironmentFault: scipy is not installed.
        """
        if not self.values.any():
            return 1.0
        try:
            from scipy.stats import wilcoxon
        except ImportError as fault:
            raise EnvironmentFault(
                "Wilcoxon's test needs scipy, which is not installed. "
                "Run: pip install 'metasearch[search]'"
            ) from fault
        return float(wilcoxon(self.values).pvalue)


def mean_interval(values: np.ndarray, seed: int = 0) -> Interval:
    """The mean over tasks and its 95 % bootstrap interval.

    Values that are not finite are left out: who does not want a diverged task to be forgiven has to
    replace it before. No finite value gives NaN throughout; a single one has NaN for its ends.

    Source: Efron, "Better Bootstrap Confidence Intervals", JASA 82, 1987 (BCa, with the
    acceleration of a mean). Differs: the level is widened as from the normal to Student's t with n
    - 1 degrees of freedom (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015,
    section 5.2), without which intervals of few tasks are too short.
    """
    x = np.asarray(values, np.float64).ravel()
    x = x[np.isfinite(x)]
    n = len(x)
    if n < 2:
        return Interval(float(x[0]) if n else math.nan, math.nan, math.nan)
    mean, away = float(x.mean()), x - x.mean()
    # Differences that are rounding errors of equal values are not spread.
    if np.abs(away).max() <= 1e-12 * max(1.0, abs(mean)):
        return Interval(mean, mean, mean)
    draws = Stream(seed).at("bootstrap").numpy().integers(0, n, (RESAMPLES, n))
    means = np.sort(x[draws].mean(1))
    low, high = np.quantile(means, _levels(means, mean, away))
    return Interval(mean, float(low), float(high))


def paired_difference(a: np.ndarray, b: np.ndarray, seed: int = 0) -> Difference:
    """Compare two recipes on the same tasks; `a` and `b` are in the same order.

    Raises:
        ValueError: they are not of one length.
    """
    a, b = (np.asarray(v, np.float64).ravel() for v in (a, b))
    if a.shape != b.shape:
        raise ValueError(f"paired values must match task by task, got {len(a)} and {len(b)}")
    gap = a - b
    kept = gap[np.isfinite(gap)]
    return Difference(*mean_interval(kept, seed), kept, len(gap) - len(kept))


def _levels(means: np.ndarray, mean: float, away: np.ndarray) -> list[float]:
    """The quantiles of the bootstrap means that are the interval's ends."""
    normal, n = NormalDist(), len(away)
    wide = math.sqrt(n / (n - 1)) * student(1 - (1 - LEVEL) / 2, n - 1)
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / len(means)
    bias = normal.inv_cdf(min(max(below, 1e-3), 1 - 1e-3))
    speed = np.sum(away**3) / (6 * np.sum(away**2) ** 1.5)
    shifted = (bias + z for z in (-wide, wide))
    return [normal.cdf(bias + s / max(1 - speed * s, 1e-3)) for s in shifted]


def student(level: float, freedom: int) -> float:
    """A quantile of Student's t; exact for 1 and 2, else by Hill's expansion about the normal.

    Source: Abramowitz & Stegun, 26.7.5; off by less than 1 % from 3 degrees of freedom on.
    """
    if freedom == 1:
        return math.tan(math.pi * (level - 0.5))
    if freedom == 2:
        a = 4 * level * (1 - level)
        return 2 * (level - 0.5) * math.sqrt(2 / a)
    z, v = NormalDist().inv_cdf(level), freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v ** (i + 1) for i, term in enumerate(terms))


def expected_best(n: int) -> float:
    """The mean of the largest of `n` independent standard normal numbers.

    >>> [round(expected_best(n), 2) for n in (1, 2, 10, 50, 100)]
    [0.0, 0.56, 1.54, 2.25, 2.51]
    """
    z = np.linspace(-9, 9, 4001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(z))])
    return float(np.trapezoid(n * z * density * below.clip(0, 1) ** (n - 1), z))
