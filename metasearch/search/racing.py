"""Racing over tasks: a trial that is clearly worse than the leader is not judged on all of them.

At a rung the worker judges a few unseen tasks at a time, the same for all trials, with the same
noise. After each lot it compares with what the leader scored on these tasks at that rung, as it was
when the trial began; the desk, which knows who leads now, compares what was judged on all. NumPy
only; a worker that races imports nothing else of the search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metasearch.registry import component
from metasearch.trial.report import Report

ALIKE = 1e-9  # a difference below this share of the scores is rounding


@component
class Racing:
    """When a trial is stopped for being worse than a leader on the tasks seen so far.

    The leader is the best of those that finished; until one has, of those that came furthest. The
    test is Wilcoxon's signed-rank test, one-sided, exact; the mean has to be worse, too. `alpha` is
    for a trial's whole life and against whoever may lead: it is shared evenly among the trials of
    which the leader is picked, the rungs, and the looks at each (half of it for lots of tasks, half
    for all), so that a trial that is at no rung worse than any other is stopped with probability
    `alpha` at most (Bonferroni).

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
    level: float  # of the tests at one rung
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
        if p > self.level / looks:
            return ""
        return f"worse than {self.leader} on {len(seen)} of {len(theirs)} tasks, p {p:.1e}"


class Pace:
    """Knows who leads a search, and sets the bar for the others."""

    def __init__(
        self, racing: Racing, sign: float, reports: int, spared: Container[int] = ()
    ) -> None:
        """Begin with nobody; a trial that runs to its end makes so many reports.

        Trials with the numbers in `spared` are raced against, and do not race themselves.
        """
        self.spared = spared
        self._racing = racing
        self._sign = sign
        self._reports = reports
        self._running: dict[str, dict[int, Report]] = {}  # by trial, by step
        self._best = math.inf
        self._finished: tuple[str, dict[int, Report]] | None = None  # the best of those
        self._rivals = 0  # trials that ever reported, and are over

    def reported(self, name: str, report: Report) -> None:
        """A trial that runs was judged on all tasks."""
        self._running.setdefault(name, {})[report.step] = report

    def ended(self, name: str, curve: Sequence[tuple[int, float]]) -> None:
        """A trial is over, and none to be beaten."""
        self._running.pop(name, None)
        self._rivals += bool(curve)

    def finished(self, name: str, score: float, reports: Callable[[], Sequence[Report]]) -> None:
        """A trial ran to its end; `reports` are read only if it leads."""
        self._running.pop(name, None)
        self._rivals += 1
        if self._sign * score < self._best:
            self._best = self._sign * score
            self._finished = (name, {report.step: report for report in reports()})

    def bar(self, name: str = "") -> Bar | None:
        """For a trial that begins now, or runs; None if there is nobody else."""
        others = {other: made for other, made in self._running.items() if other != name}
        rivals = self._rivals + len(others)
        if self._finished is not None:
            others[self._finished[0]] = self._finished[1]
        if not others:
            return None
        leader, made = min(others.items(), key=self._place)
        raced = sorted(made)[self._racing.warmup :]
        level = self._racing.alpha / rivals / self._reports / 2
        return Bar(leader, self._sign, level, {step: made[step].per_task for step in raced})

    def _place(self, trial: tuple[str, Mapping[int, Report]]) -> tuple[float, float]:
        """Who came furthest leads, and of those the best."""
        step, report = max(trial[1].items())
        score = self._sign * report.score
        return (-step, score) if math.isfinite(score) else (0, math.inf)

    def behind(self, name: str) -> str:
        """Why a trial that runs need not go on, after all it reported; empty if it may still win.

        Seen is the last rung that both have reported.
        """
        bar = self.bar(name)
        both = self._running.get(name, {}).keys() & bar.rungs.keys() if bar else None
        if bar is None or not both:
            return ""
        return bar(max(both), self._running[name][max(both)].per_task, 1)


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
