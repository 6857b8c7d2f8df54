"""Which draws decide how good a trial is, as far as the trials of a search can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metasearch.observe.base import Draw
from metasearch.observe.standing import Direction, Ended
from metasearch.rng import Stream

GROUPS = 4  # that numbers are put into, by size
LEAST = 8  # trials, below which nothing is said
SHUFFLES = 999
CHANCE = 0.05


@dataclass(frozen=True)
class Influence:
    """How much one draw tells of the order of trials, taken by itself."""

    path: str
    share: float  # of the variance of ranks, in [0, 1], with what chance explains taken off
    p: float  # how often shuffled trials show as much
    trials: int  # that have this draw
    best: str  # the option, or the range of numbers, whose trials did best in the middle

    @property
    def settled(self) -> bool:
        """Whether chance alone would show so much less than one time in twenty."""
        return self.p <= CHANCE


def influences(
    draws: Sequence[Draw], ended: Sequence[Ended], direction: Direction
) -> list[Influence]:
    """Every draw that at least eight trials have and differ in, the strongest first.

    Of a draw that only some branches have, the trials of those branches are compared. It is the
    effect of one draw by itself: what two do together only is not seen.

    Source: Kelley, "An Unbiased Correlation Ratio Measure", PNAS 21, 1935, of ranks, which is
    the epsilon squared of Kruskal & Wallis' test; its p-value by shuffling.
    """
    order = standing_order(ended, direction)
    found = [_influence(draw, order) for draw in draws]
    return sorted((i for i in found if i is not None), key=lambda i: -i.share)


def standing_order(ended: Sequence[Ended], direction: Direction) -> list[Ended]:
    """All trials that were scored, best first: the finished by score, then the pruned by how far
    they came and their score, then those that diverged. A failure says nothing of the settings.

    Source: Bergstra et al. compare finished trials alone; that pruned ones are put below, by step
    and value, is what Optuna's TPE sampler does.
    """
    sign = 1.0 if direction == "minimize" else -1.0

    def place(pair: Ended) -> tuple[float, ...]:
        trial, outcome = pair
        if outcome.score is None or not math.isfinite(outcome.score):
            return (2, 0, 0, trial.number)
        if outcome.state == "complete":
            return (0, 0, sign * outcome.score, trial.number)
        return (1, -outcome.step, sign * outcome.score, trial.number)

    return sorted((pair for pair in ended if pair[1].state != "failed"), key=place)


def _influence(draw: Draw, order: Sequence[Ended]) -> Influence | None:
    values = [trial.params[draw.path] for trial, _ in order if draw.path in trial.params]
    if len(values) < LEAST:
        return None
    groups, names = _groups(draw, values)
    if len(names) < 2:
        return None
    ranks = np.arange(len(values), dtype=np.float64)
    member = np.eye(len(names))[groups]  # [trials, groups]
    seen = _explained(ranks[None], member)[0]
    rng = Stream(0).at("importance", draw.path).numpy()
    shuffled = rng.permuted(np.tile(ranks, (SHUFFLES, 1)), axis=1)
    beyond = int((_explained(shuffled, member) >= seen - 1e-12).sum())
    n, k = len(values), len(names)
    share = 1 - (1 - seen) * (n - 1) / (n - k) if n > k else 0.0
    middles = [float(np.median(ranks[groups == g])) for g in range(k)]
    best = names[int(np.argmin(middles))]
    return Influence(draw.path, max(float(share), 0.0), (beyond + 1) / (SHUFFLES + 1), n, best)


def _explained(ranks: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The share of the variance of ranks [orders, trials] that lies between groups, [orders]."""
    away = ranks - ranks.mean(1, keepdims=True)
    between = ((away @ member) ** 2 / member.sum(0)).sum(1)
    return between / (away**2).sum(1)


def _groups(draw: Draw, values: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
    """Which group each value is in, and their names: an option each, numbers by size."""
    if draw.kind == "choice":
        names = list(dict.fromkeys(map(str, values)))
        return np.array([names.index(str(value)) for value in values]), names
    numbers = np.array(values, np.float64)
    count = min(GROUPS, len(numbers) // 4)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, count + 1)[1:-1]))
    groups = np.searchsorted(edges, numbers, side="right")
    present, groups = np.unique(groups, return_inverse=True)
    names = [
        f"{numbers[groups == g].min():.3g} to {numbers[groups == g].max():.3g}"
        for g in range(len(present))
    ]
    return groups, names
