"""Racing over tasks: best first, and an end for those that cannot catch up any more.

After a report a trial that is clearly behind the leader is set aside; it goes on once it no longer
is, or when all have been asked. For good it is stopped only if it would end clearly behind what the
leader ended with even if it gained as much as any trial of this search has from where it is. The
worker looks for that while it judges: a few unseen tasks at a time, the same for all trials, with
the same noise. NumPy only; a worker that races imports nothing else of the search.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metasearch.registry import component
from metasearch.trial.report import Report

TINY = 1e-300  # in the place of a score of nothing, to divide by
ALIKE = 1e-9  # a difference below this share of the scores is rounding

Curve = Sequence[tuple[int, float]]


@component
class Racing:
    """When a trial is set aside, and when it is stopped, for its scores on the tasks seen so far.

    The leader is the best of those that finished; until one has, of those that came furthest. The
    test is Wilcoxon's signed-rank test, one-sided, exact; the mean has to be worse, too. `alpha` is
    for a trial's whole life and against whoever may lead: it is shared evenly among the trials of
    which the leader is picked, the rungs, and the looks at each (half of it for lots of tasks, half
    for all), so that a trial that will end as well as any other, and gains no more on its way than
    some trial did, is stopped with probability `alpha` at most (Bonferroni). What can be gained
    from the first report on counts as known when as many trials as start together went on from
    there, from the next report on when half as many did, and so on.

    Source: Birattari et al., "A Racing Algorithm for Configuring Metaheuristics", GECCO 2002; the
    order in which trials go on by Swersky et al., "Freeze-Thaw Bayesian Optimization",
    arXiv:1406.3896, 2014. Differs: pairs with the leader in the place of Friedman's test of all,
    for trials come one by one; the level is kept over all looks; and what a trial may still gain is
    the largest gain that was seen, in place of a model of curves.
    """

    alpha: float = 0.05
    warmup: int = 0  # a trial's first reports, at which it does not race
    starters: int = 8  # trials that all make their first report before the best of them goes on

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


class Pace:
    """Knows who leads a search, who may go on, and what the others have to reach."""

    def __init__(
        self, racing: Racing, sign: float, reports: int, spared: Container[int] = ()
    ) -> None:
        """Begin with nobody; a trial that runs to its end makes so many reports.

        Who was set aside counts as running.

        Trials with the numbers in `spared` are raced against, and do not race themselves.
        """
        self.spared = spared
        self._racing = racing
        self._sign = sign
        self._reports = reports
        self._running: dict[str, dict[int, Report]] = {}  # by trial, by step
        self._best = math.inf
        self._finished: tuple[str, dict[int, Report]] | None = None  # the best of those
        self._gains: dict[int, float] = {}  # step -> the largest from there on, as a share
        self._went_on: Counter[int] = Counter()  # step -> trials that reported again after it
        self._rivals = 0  # trials that ever reported, and are over
        self._lags: dict[str, tuple[str, int]] = {}  # who is behind whom, at which step

    def reported(self, name: str, report: Report) -> None:
        """A trial that runs was judged on all tasks."""
        made = self._running.setdefault(name, {})
        made[report.step] = report
        self._learn([(step, made[step].score) for step in sorted(made)])

    def ended(self, name: str, curve: Curve) -> None:
        """A trial is over, and none to be beaten."""
        if self._running.pop(name, None) is None:  # its reports are of an earlier sitting
            for reports in range(2, len(curve) + 1):
                self._learn(curve[:reports])
        self._lags.pop(name, None)
        self._rivals += bool(curve)

    def finished(self, name: str, curve: Curve, reports: Callable[[], Sequence[Report]]) -> bool:
        """A trial ran to its end. Returns whether it leads; only then `reports` are read."""
        self.ended(name, curve)
        last = self._sign * curve[-1][1]
        leads = last < self._best
        if leads:
            self._best = last
            self._finished = (name, {report.step: report for report in reports()})
        return leads

    def _learn(self, curve: Curve) -> None:
        """What its last report tells of a trial's earlier ones."""
        *before, (_, last) = curve
        for step, score in before:
            gain = self._sign * (score - last) / max(abs(score), TINY)
            self._gains[step] = max(self._gains.get(step, 0.0), gain)
        if before:
            self._went_on[before[-1][0]] += 1

    def bar(self) -> Bar | None:
        """For a trial that begins or goes on now; None as long as none has finished."""
        if self._finished is None:
            return None
        leader, made = self._finished
        final, raced = max(made), sorted(made)[self._racing.warmup :]
        known = {
            step: self._gains[step]
            for i, step in enumerate(raced)
            if self._went_on[step] >= max(1, self._racing.starters / 2**i)
        }
        level = self._level(self._rivals + len(self._running))
        return Bar(leader, self._sign, level, made[final].per_task, {**known, final: 0.0})

    def beaten(self, name: str) -> str:
        """Why a trial need not go on, after all it reported; empty if it may still win."""
        bar, made = self.bar(), self._running.get(name)
        return bar(max(made), made[max(made)].per_task, 1) if bar and made else ""

    def waits(self, name: str) -> bool:
        """Whether a trial that reported is to be set aside."""
        made = self._running.get(name, {})
        if len(made) <= self._racing.warmup:
            return False
        return self._gathering() or self._lags_behind(name)

    def pick(self, names: Collection[str], *, last: bool) -> str:
        """Which of the trials set aside goes on before any other is asked for; empty if none.

        With `last` there is no other, and whoever is left goes on, the most promising first.
        """
        if self._gathering() and not last:
            return ""
        ahead = [name for name in names if not self._lags_behind(name)]
        if ahead:
            return min(ahead, key=lambda name: self._place(self._running[name]))
        return min(names, key=self._promise, default="") if last else ""

    def _gathering(self) -> bool:
        """Whether the trials that start together have not all made their first report."""
        raced = sum(len(made) > self._racing.warmup for made in self._running.values())
        return self._rivals + raced < self._racing.starters

    def _lags_behind(self, name: str) -> bool:
        """Whether a trial is clearly worse than the leader at the last rung that both reported.

        Who is behind a leader stays so until either goes on or another leads.
        """
        if self._finished is not None:
            leader, theirs = self._finished
        elif others := {other: made for other, made in self._running.items() if other != name}:
            leader, theirs = min(others.items(), key=lambda item: self._place(item[1]))
        else:
            return False
        made = self._running[name]
        both = made.keys() & theirs.keys()
        if not both:
            return False
        seen = leader, max(both)
        if self._lags.get(name) != seen:
            self._lags.pop(name, None)
            mine, other = made[max(both)].per_task, theirs[max(both)].per_task
            pairs = np.array([(mine[task], other[task]) for task in mine.keys() & other.keys()])
            rivals = self._rivals + len(self._running) - 1
            if len(pairs) and lag(*(self._sign * pairs.T)) <= self._level(rivals):
                self._lags[name] = seen
        return name in self._lags

    def _level(self, rivals: int) -> float:
        return self._racing.alpha / max(rivals, 1) / self._reports / 2

    def _place(self, made: Mapping[int, Report]) -> tuple[float, float]:
        """Who came furthest leads, and of those the best."""
        step, report = max(made.items())
        score = self._sign * report.score
        return (-step, score) if math.isfinite(score) else (0, math.inf)

    def _promise(self, name: str) -> float:
        """How far behind the leader a trial was at its last report; low is good."""
        step, report = max(self._running[name].items())
        theirs = self._finished[1].get(step) if self._finished else None
        return self._sign * (report.score - theirs.score) if theirs else math.inf


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
