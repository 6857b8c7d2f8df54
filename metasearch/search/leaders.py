"""Who leads a search, and whether that is settled. NumPy alone: the ledger holds all it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from metasearch.interval import LEVEL, expected_best, student
from metasearch.observe.base import Watched
from metasearch.search.ledger import Record, Run

TO_SIGMA = 1.4826  # from the median absolute deviation of normal numbers to their deviation


@dataclass(frozen=True)
class Place:
    """One finished trial among the others."""

    record: Record
    shrunk: float | None  # the score, pulled to the middle as far as noise has pushed it away
    behind: float | None  # mean over tasks of what it is worse by than the leader; None for that
    error: float | None  # standard error of `behind` over tasks
    settled: bool | None  # that it is not the best; None for the leader, or if nobody can tell
    standard: float | None  # 0 is real images, 1 the floor

    @property
    def score(self) -> float:
        """Mean over tasks."""
        assert self.record.outcome is not None
        assert self.record.outcome.score is not None
        return self.record.outcome.score


@dataclass(frozen=True)
class Repeated:
    """One recipe that was trained from several seeds: how good it is, and what luck does to it."""

    trials: tuple[int, ...]  # the numbers of those that finished
    mean: float
    deviation: float
    shrunk: float | None  # the mean, pulled to the middle as far as noise and luck push it away


@dataclass(frozen=True, eq=False)
class Leaders:
    """The finished trials of a search, best first, and how far their order may be trusted."""

    records: Sequence[Record]
    sign: float  # 1 where low is good
    watched: Sequence[Watched] = ()

    @staticmethod
    def of(run: Run) -> Leaders:
        """All trials of a run that finished."""
        sign = 1.0 if run.info.direction == "minimize" else -1.0
        return Leaders(run.best(len(run.trials)), sign, run.info.watched)

    @cached_property
    def places(self) -> list[Place]:
        """Every finished trial, best first."""
        return [self._place(i) for i in range(len(self.records))]

    @cached_property
    def scores(self) -> np.ndarray:
        """Means over tasks, [trials]."""
        return self._scores_of(self.records)

    @cached_property
    def per_task(self) -> np.ndarray | None:
        """Scores by trial and task, [trials, tasks]; None where they were not kept, or differ."""
        vectors = [r.last.per_task if r.last else {} for r in self.records]
        tasks = list(vectors[0]) if vectors else []
        if len(tasks) < 3 or any(v.keys() != vectors[0].keys() for v in vectors):
            return None
        found = np.array([[v[t] for t in tasks] for v in vectors], np.float64)
        return found if np.isfinite(found).all() else None

    @cached_property
    def noise(self) -> float | None:
        """The standard error of a trial's score that comes of which tasks it was judged on.

        Some tasks are harder than others for everybody, which changes no order; what counts is
        where a trial does better or worse on a task than the task and the trial let expect. The
        middle trial's is taken, since trials that learned nothing scatter far.
        """
        if self.per_task is None or len(self.records) < 3:
            return None
        away = self.per_task - self.per_task.mean(1, keepdims=True)
        rest = away - np.median(away, 0)
        tasks, trials = rest.shape[1], rest.shape[0]
        # The median of the trials holds a part of each trial's own noise.
        kept = 1 + (math.pi / 2 - 2) / trials
        return float(np.sqrt(np.median(rest.var(1, ddof=1)) / tasks / kept))

    @cached_property
    def spread(self) -> float | None:
        """The deviation between trials that noise does not explain; 0 if it explains all."""
        if self.noise is None:
            return None
        seen = TO_SIGMA * float(np.median(np.abs(self.scores - np.median(self.scores))))
        return math.sqrt(max(0.0, seen**2 - self.noise**2))

    @cached_property
    def optimism(self) -> float | None:
        """How much better the leader's score is expected to look than it is.

        The best of many noisy trials is partly the luckiest. If all were equal it would be
        `noise` times the mean of the largest of as many normal numbers; where trials differ
        by more than noise, luck decides less.

        Source: Efron, "Tweedie's Formula and Selection Bias", JASA 106, 2011, section 2. Differs:
        median and median deviation describe the trials, for some lie far out.
        """
        if self.noise is None or self.spread is None:
            return None
        whole = math.hypot(self.noise, self.spread)
        return self.noise**2 / whole * expected_best(len(self.records)) if whole else 0.0

    @cached_property
    def luck(self) -> float | None:
        """The deviation of scores of one recipe between seeds; None where none was repeated."""
        groups = [self._scores_of(some) for some in self._recipes if len(some) > 1]
        free = sum(len(scores) - 1 for scores in groups)
        off = sum(float(((scores - scores.mean()) ** 2).sum()) for scores in groups)
        return math.sqrt(off / free) if free else None

    @property
    def repeated(self) -> list[Repeated]:
        """Recipes that finished from at least two seeds, the best mean first."""
        found = []
        for some in self._recipes:
            if len(some) > 1:
                scores = self._scores_of(some)
                mean, deviation = float(scores.mean()), float(scores.std(ddof=1))
                numbers = tuple(sorted(record.number for record in some))
                found.append(Repeated(numbers, mean, deviation, self._shrunk_mean(scores)))
        return sorted(found, key=lambda one: self.sign * one.mean)

    @cached_property
    def _recipes(self) -> list[list[Record]]:
        """Trials of one recipe together, each from a seed of its own."""
        groups: dict[str, dict[Any, Record]] = {}
        for record in self.records:
            recipe = repr(sorted(record.info.params.items(), key=str))
            groups.setdefault(recipe, {}).setdefault(record.info.config.get("seed"), record)
        return [list(seeds.values()) for seeds in groups.values()]

    def _scores_of(self, records: Sequence[Record]) -> np.ndarray:
        return np.array([r.outcome.score for r in records if r.outcome], np.float64)

    def _shrunk_mean(self, scores: np.ndarray) -> float | None:
        """What the recipe of these scores is expected to come to from yet another seed.

        Deviations between recipes are those between trials without luck; a mean over n seeds is
        off by what tasks do to a recipe, and by luck over the root of n.
        """
        if self.noise is None or self.spread is None or self.luck is None:
            return None
        between = max(0.0, self.spread**2 - self.luck**2)
        whole = between + self.noise**2 + self.luck**2 / len(scores)
        trust = between / whole if whole else 1.0
        middle = float(np.median(self.scores))
        return middle + trust * (float(scores.mean()) - middle)

    @property
    def open(self) -> list[Place]:
        """The trials that may be the best, the leader among them."""
        return [place for place in self.places if not place.settled]

    @property
    def all_alike(self) -> bool:
        """Whether trials differ by no more than noise would make equal ones differ (one in twenty).

        The variance between trials over that of noise, times the trials but one, is chi-squared if
        all are equal. Its quantile is by Wilson & Hilferty, 1931.
        """
        if self.noise is None:
            return False
        free = len(self.records) - 1
        bound = (1 - 2 / (9 * free) + NormalDist().inv_cdf(LEVEL) * math.sqrt(2 / (9 * free))) ** 3
        return bool(self.scores.var(ddof=1) <= bound * self.noise**2)

    def tracks(self) -> list[Watched]:
        """The likelihoods that some finished trials tell and others cannot."""
        found = []
        for score in self.watched:
            told = [self.told(record, score.name) is not None for record in self.records]
            if score.likelihood and any(told) and not all(told):
                found.append(score)
        return found

    def by_watched(self, score: Watched) -> list[tuple[Record, float]]:
        """The trials that tell a watched score, best first."""
        sign = 1.0 if score.direction == "minimize" else -1.0
        told = [(r, self.told(r, score.name)) for r in self.records]
        known = [(r, value) for r, value in told if value is not None]
        return sorted(known, key=lambda pair: sign * pair[1])

    def told(self, record: Record, name: str) -> float | None:
        """What a trial's last report says of a watched score."""
        value = record.last.scalars.get(f"score/{name}") if record.last else None
        return value if value is not None and math.isfinite(value) else None

    def _place(self, i: int) -> Place:
        behind = error = settled = None
        if self.per_task is not None and i > 0:
            gap = self.sign * (self.per_task[i] - self.per_task[0])
            behind, error, settled = apart(gap, len(self.records) - 1)
        return Place(
            self.records[i], self._shrunk(i), behind, error, settled, standard_of(self.records[i])
        )

    def _shrunk(self, i: int) -> float | None:
        if self.noise is None or self.spread is None:
            return None
        whole = self.noise**2 + self.spread**2
        trust = self.spread**2 / whole if whole else 1.0
        middle = float(np.median(self.scores))
        return middle + trust * (float(self.scores[i]) - middle)


def apart(gap: np.ndarray, comparisons: int) -> tuple[float, float, bool]:
    """How much worse than the leader over tasks [tasks], its standard error, and is it settled.

    One error in twenty is allowed for all comparisons with the leader together (Bonferroni).
    """
    n = len(gap)
    behind = float(gap.mean())
    if n < 2:
        return behind, math.nan, False
    error = float(gap.std(ddof=1) / math.sqrt(n))
    level = 1 - (1 - LEVEL) / max(comparisons, 1)
    return behind, error, behind > student(level, n - 1) * error


def standard_of(record: Record) -> float | None:
    """A trial's score between real images at 0 and the floor at 1; None where one is unknown."""
    if record.last is None or record.outcome is None or record.outcome.score is None:
        return None
    return standardised(record.outcome.score, record.last.scalars)


def standardised(score: float, ends: Mapping[str, float]) -> float | None:
    """``(score - real) / (floor - real)``; None where an end is unknown or both are one.

    Over tasks it is the mean of the same with the floor's mean distance from real images below the
    line: of single tasks that distance may be 0.
    """
    real, floor = (ends.get(f"score/{end}", math.nan) for end in ("real", "floor"))
    if not math.isfinite(real) or not math.isfinite(floor) or real == floor:
        return None
    return (score - real) / (floor - real)
