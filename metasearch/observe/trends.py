"""How a search went: the best so far, and what fewer trials would have found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metasearch.observe.standing import Direction, Ended, ranked


@dataclass(frozen=True)
class Best:
    """The leader after so many trials have ended."""

    ended: int
    score: float
    low: float
    high: float
    name: str


def best_so_far(ended: Sequence[Ended], direction: Direction) -> list[Best]:
    """The leader each time it changes, and at the end; `ended` in the order in which they did."""
    sign = 1.0 if direction == "minimize" else -1.0
    found: list[Best] = []
    for n, pair in enumerate(ended, 1):
        for trial, outcome in ranked([pair], direction):
            assert outcome.score is not None  # for it is ranked
            if not found or sign * outcome.score < sign * found[-1].score:
                low, high = (math.nan if e is None else e for e in (outcome.low, outcome.high))
                found.append(Best(n, outcome.score, low, high, trial.name))
    if found and found[-1].ended < len(ended):
        last = found[-1]
        found.append(Best(len(ended), last.score, last.low, last.high, last.name))
    return found


@dataclass(frozen=True)
class Expected:
    """The best score of `trials` trials taken at random from those of a search."""

    trials: int
    mean: float
    low: float  # 5 % of such choices find a better one
    high: float  # and 5 % a worse one


def expected_best_of(ended: Sequence[Ended], direction: Direction) -> list[Expected]:
    """What n of these trials would have found, for every n up to all of them.

    A trial that was stopped counts with its last score, for that is what it would have given; one
    that failed or diverged counts as the worst. Trials that a sampler chose by what it had seen
    are no sample of anything; as if they were, this says what fewer would have done.

    Source: Dodge et al., "Show Your Work", EMNLP 2019, section 3. Differs: trials are taken
    without replacement, which is unbiased (Tang et al., "Showing Your Work Doesn't Always Work",
    ACL 2020, equation 4).
    """
    sign = 1.0 if direction == "minimize" else -1.0
    told = [o.score for _, o in ended]
    known = sorted(sign * s for s in told if s is not None and math.isfinite(s))
    if not known:
        return []
    x = np.array(known + [known[-1]] * (len(told) - len(known)))
    return [_expected(x, n, sign) for n in range(1, len(x) + 1)]


def _expected(x: np.ndarray, n: int, sign: float) -> Expected:
    """Of scores [trials], the best first."""
    total, chances = len(x), np.zeros(len(x))
    here = n / total  # the chance that the first is among them
    for i in range(total):
        chances[i] = here
        left = total - i - 1
        here = here * (left - n + 1) / left if left else 0.0
    below = np.cumsum(chances)
    low, high = (float(x[min(int(np.searchsorted(below, q)), total - 1)]) for q in (0.05, 0.95))
    return Expected(n, sign * float(chances @ x), sign * low, sign * high)
