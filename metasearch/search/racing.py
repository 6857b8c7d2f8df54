"""Racing over tasks: a trial that is clearly worse than the leader is not judged on all of them.

At a rung the worker judges a few unseen tasks at a time, the same for all trials, with the same
noise. After each lot it compares with what the leader scored on these tasks at that rung. NumPy
only; a worker that races imports nothing else of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metasearch.registry import component
from metasearch.trial.report import Report

ALIKE = 1e-9  # a difference below this share of the scores is rounding


@component
class Racing:
    """When a trial is stopped for being worse than the leader on the tasks seen so far.

    The test is Wilcoxon's signed-rank test, one-sided, exact; the mean has to be worse, too.
    `alpha` is for a trial's whole life and against whoever may lead: it is shared evenly among the
    looks (lots of tasks times rungs) and among the finished trials of which the leader was picked,
    so that a trial that is at no rung worse than any other is stopped with probability `alpha` at
    most (Bonferroni).

    Source: Birattari et al., "A Racing Algorithm for Configuring Metaheuristics", GECCO 2002.
    Differs: pairs with the leader in the place of Friedman's test of all, for trials come one by
    one; and the level is kept over all looks.
    """

    alpha: float = 0.05
    warmup: int = 0  # a trial's first reports, at which it does not race

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError("alpha must lie between 0 and 1")
        if self.warmup < 0:
            raise ValueError("warmup must not be negative")


@dataclass(frozen=True)
class Bar:
    """What a trial has to keep up with. Plain data, for it travels."""

    leader: str  # the name of the trial that led when this one began
    sign: float  # 1 where low is good
    level: float  # of the tests at all rungs together
    rungs: Mapping[int, Mapping[str, float]]  # step -> task -> what the leader scored

    def to_data(self) -> dict[str, Any]:
        """As JSON can carry it; see `of_data`."""
        return {**vars(self), "rungs": [[step, dict(found)] for step, found in self.rungs.items()]}

    @staticmethod
    def of_data(data: Mapping[str, Any]) -> Bar:
        """The bar whose `to_data` this is."""
        return Bar(**{**data, "rungs": dict(data["rungs"])})

    def __call__(self, step: int, seen: Mapping[str, float], looks: int) -> str:
        """Why a trial need not be judged further; empty if it may still be as good.

        Args:
            step: the rung.
            seen: its scores by task so far; what is not finite counts as worst.
            looks: how often it is asked at a rung.
        """
        theirs = self.rungs.get(step)
        if theirs is None or not seen.keys() <= theirs.keys():
            return ""
        mine, other = (np.array([d[task] for task in seen]) for d in (seen, theirs))
        gap = behind(self.sign * mine, self.sign * other)
        if not gap.sum() > 0:  # ranks are compared by the test, means by the search
            return ""
        p = signed_rank(gap)
        level = self.level / (len(self.rungs) * looks)
        if p > level:
            return ""
        return f"worse than {self.leader} on {len(seen)} of {len(theirs)} tasks, p {p:.1e}"


class Pace:
    """Keeps the leader of a search, and sets the bar for the trials that begin."""

    def __init__(self, racing: Racing, sign: float) -> None:
        self._racing = racing
        self._sign = sign
        self._best = np.inf
        self._leader: tuple[str, dict[int, Mapping[str, float]]] | None = None
        self._finished = 0

    def finished(self, name: str, score: float, reports: Callable[[], Sequence[Report]]) -> None:
        """A trial ran to its end; `reports` are read only if it leads."""
        self._finished += 1
        if self._sign * score < self._best:
            self._best = self._sign * score
            raced = reports()[self._racing.warmup :]
            self._leader = (name, {r.step: r.per_task for r in raced})

    def bar(self) -> Bar | None:
        """For a trial that begins now; None if nobody leads."""
        if self._leader is None:
            return None
        return Bar(
            self._leader[0], self._sign, self._racing.alpha / self._finished, self._leader[1]
        )


def behind(mine: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By how much `mine` is above `other`, task by task, where low is good.

    Differences of rounding are none. Who diverged is behind by more than all the others; where
    both did, nobody is behind.
    """
    lost, won = ~np.isfinite(mine), ~np.isfinite(other)
    mine, other = np.where(lost, 0.0, mine), np.where(won, 0.0, other)
    gap = mine - other
    gap[np.abs(gap) <= ALIKE * np.maximum(np.abs(mine), np.abs(other))] = 0.0
    gap[lost], gap[won], gap[lost & won] = np.inf, -np.inf, 0.0
    return gap


def signed_rank(gap: np.ndarray) -> float:
    """Wilcoxon's test that differences are not above 0: the one-sided p-value, exact.

    Zeros are left out and equal sizes share their ranks. All signs are equally likely if the
    differences are symmetric about 0, which they are if neither side is better and tasks are not
    told apart.

    Source: Wilcoxon, "Individual Comparisons by Ranking Methods", 1945; the distribution by Pagano
    & Tritchler, "On Obtaining Permutation Distributions in Polynomial Time", JASA 78, 1983.
    """
    gap = gap[gap != 0]
    if not len(gap):
        return 1.0
    _, group, counts = np.unique(np.abs(gap), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (2 * ends - counts + 1)[group]  # twice the mean rank: a whole number
    chance = np.ones(1)  # that the ranks with positive sign add up to 0, 1, 2, ...
    for rank in ranks:
        longer = np.zeros(len(chance) + rank)
        longer[: len(chance)] += chance / 2
        longer[rank:] += chance / 2
        chance = longer
    return float(chance[ranks[gap > 0].sum() :].sum())
