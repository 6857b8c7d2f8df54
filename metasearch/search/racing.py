"""Racing over tasks: settings, the test of two trials, and what a trial is held against.

For good a trial is stopped only if it would end clearly behind what the leader ended with even if
it gained as much as any trial of this search has from where it is. The worker looks for that while
it judges: a few unseen tasks at a time, the same for all trials, with the same noise. Who would
have to wait after its first report is not judged on the rest. NumPy only; a worker that races
imports nothing else of the search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metasearch.registry import component
from metasearch.trial.report import Halt

ALIKE = 1e-9  # a difference below this share of the scores is rounding


@component
class Racing:
    """When a trial is set aside, and when it is stopped, for its scores on the tasks seen so far.

    At its first report a trial is judged on a lot of the tasks, and on the others only if it is not
    behind, at `alpha` by the same test, the one that it would have to beat to go on. Else it waits
    by what it is expected to come to, and nothing is decided for good; see `Gate`.

    The leader is the best of those that finished; until one has, of those that came furthest. The
    test is Wilcoxon's signed-rank test, one-sided, exact; the mean has to be worse, too. `alpha` is
    for a trial's whole life and against whoever may lead: it is shared evenly among the trials of
    which the leader is picked, the rungs, and the looks at each (half of it for lots of tasks, half
    for all), so that a trial that will end as well as any other, and gains no more on its way than
    is allowed for, is stopped with probability `alpha` at most (Bonferroni). Allowed for is the
    largest gain that was seen between whole reports, and more the fewer went on; see `allowance`.
    What can be gained from the first report on counts as known when as many trials as start
    together went on from there, from the next report on when half as many did, and so on.

    Source: Birattari et al., "A Racing Algorithm for Configuring Metaheuristics", GECCO 2002; the
    order in which trials go on by Swersky et al., "Freeze-Thaw Bayesian Optimization",
    arXiv:1406.3896, 2014. Differs: pairs with the leader in the place of Friedman's test of all,
    for trials come one by one; the level is kept over all looks; and what a trial may still gain is
    bounded by the gains that were seen, in place of a model of curves. That one of so many goes on
    from the first report is of Li et al., "A System for Massively Parallel Hyperparameter Tuning",
    MLSys 2020.
    """

    alpha: float = 0.05
    warmup: int = 0  # a trial's first reports, at which it does not race
    starters: int = 8  # trials that make their first report for each that goes on from there

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError("alpha must lie between 0 and 1")
        if self.warmup < 0:
            raise ValueError("warmup must not be negative")
        if self.starters < 1:
            raise ValueError("starters must be at least 1")


@dataclass(frozen=True)
class Bar:
    """What a trial must still be able to reach. Plain data, for it travels."""

    leader: str  # the name of the best trial that had finished when this one was handed out
    sign: float  # 1 where low is good
    level: float  # of the tests at one rung
    goal: Mapping[str, float]  # task -> what the leader scored in the end
    gains: Mapping[int, float]  # step -> the share of its score that a trial may gain from there on

    def to_data(self) -> dict[str, Any]:
        """As JSON can carry it; see `of_data`."""
        return {**vars(self), "goal": dict(self.goal), "gains": list(self.gains.items())}

    @staticmethod
    def of_data(data: Mapping[str, Any]) -> Bar:
        """The bar whose `to_data` this is."""
        return Bar(**{**data, "gains": dict(data["gains"])})

    def __call__(self, step: int, seen: Mapping[str, float], looks: int) -> str:
        """Why a trial need not be judged further; empty if it may still end as well.

        Args:
            step: the rung.
            seen: its scores by task so far; what is not finite counts as worst.
            looks: how often it is asked at a rung.
        """
        gain = self.gains.get(step)
        if gain is None or not seen.keys() <= self.goal.keys():
            return ""
        mine, goal = (self.sign * np.array([d[task] for task in seen]) for d in (seen, self.goal))
        p = lag(mine - gain * np.abs(mine), goal)
        if p > self.level / looks:
            return ""
        where = f"{len(seen)} of {len(self.goal)} tasks"
        still = f", however much it gains ({gain:.0%})" if gain else ""
        return f"worse than {self.leader} on {where}{still}, p {p:.1e}"


@dataclass(frozen=True)
class Gate:
    """Whom a trial has to keep up with at its first report, to go on from there. Plain data.

    Nothing is decided for good, so the level is of one test, and not shared.
    """

    rival: str  # the name of the trial that would have to wait if one more were better
    sign: float  # 1 where low is good
    level: float  # of the test
    step: int  # of the first report
    goal: Mapping[str, float]  # task -> what the rival scored there

    def __call__(self, step: int, seen: Mapping[str, float], looks: int) -> Halt | None:
        """Why a trial need not be judged further for now, and what it is expected to come to.

        Asked once, after the first of so many lots of tasks. It is expected to be as far behind the
        rival on the others as on these. Where a task diverged, all are judged.
        """
        first = step == self.step and len(seen) == -(-len(self.goal) // looks) < len(self.goal)
        if not first or not seen.keys() <= self.goal.keys():
            return None
        mine, goal = (self.sign * np.array([d[task] for task in seen]) for d in (seen, self.goal))
        expected = np.mean(list(self.goal.values())) + self.sign * np.mean(mine - goal)
        if not math.isfinite(expected) or (p := lag(mine, goal)) > self.level:
            return None
        where = f"{len(seen)} of {len(self.goal)} tasks"
        return Halt(behind=f"behind {self.rival} on {where}, p {p:.1e}", score=float(expected))


@dataclass(frozen=True)
class Hurdles:
    """All that a trial is held against while it is judged. Plain data, for it travels."""

    bar: Bar | None = None
    gate: Gate | None = None

    def to_data(self) -> dict[str, Any]:
        """As JSON can carry it; see `of_data`."""
        bar, gate = self.bar, self.gate
        return {"bar": bar and bar.to_data(), "gate": gate and {**vars(gate)}}

    @staticmethod
    def of_data(data: Mapping[str, Any]) -> Hurdles:
        """The hurdles whose `to_data` this is."""
        bar, gate = data["bar"], data["gate"]
        return Hurdles(bar and Bar.of_data(bar), gate and Gate(**gate))

    def __call__(self, step: int, seen: Mapping[str, float], looks: int) -> Halt | None:
        """Why a judgement is broken off; see `Bar` and `Gate`."""
        if why := self.bar(step, seen, looks) if self.bar else "":
            return Halt(lost=why)
        return self.gate(step, seen, looks) if self.gate else None


def allowance(seen: int, alpha: float) -> float:
    """By how much more than the largest of so many gains a trial may be about to gain; at least 1.

    Of gains that are spread evenly up to some largest one, the next is above c times the largest of
    k with probability 1 / (c^k (k + 1)), which is `alpha` at most for this c. A trial that stopped
    on its way counts among the k with what it gained until then, so this is a rule of thumb.
    """
    return float(max(1.0, ((seen + 1) * alpha) ** (-1 / seen)))


def lag(mine: np.ndarray, other: np.ndarray) -> float:
    """The p-value that `mine` is above `other`, task by task; 1 if its mean is not.

    Ranks are compared by the test, means by the search.
    """
    gap = behind(mine, other)
    return signed_rank(gap) if gap.sum() > 0 else 1.0


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
