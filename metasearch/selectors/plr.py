"""Prioritised replay: tasks by the rank of their latest loss, and by how long ago it was."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import component
from metasearch.selectors.base import (
    NOTHING,
    Arms,
    Axis,
    Choice,
    Evidence,
    Feedback,
    Kind,
    Need,
    Play,
    Reweight,
    State,
    floored,
    importance,
    one_hot,
    without_replacement,
)


@component
class PLR:
    """Tasks that were never seen first, then hard ones and forgotten ones.

    Source: Jiang, Grefenstette & Rocktaschel, "Prioritized Level Replay", 2021, eq. 2 to 4, with
    rank prioritisation. Differs: the score of a task is its excess loss.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tasks"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = NOTHING

    name: Literal["plr"] = "plr"
    beta: float = 0.1  # temperature of ranks: small for the very hardest alone
    rho: float = 0.1  # share of staleness
    eps: float = 0.1  # share of uniform draws
    reweight: Reweight = "none"

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if self.beta <= 0 or not 0 <= self.rho <= 1 or not 0 <= self.eps <= 1:
            raise ValueError("beta must be above 0, rho and eps from 0 to 1")

    def init(self, arms: Arms) -> State:
        """Nothing was seen."""
        return {
            "score": np.full(arms.n, np.nan),
            "last": np.zeros(arms.n),
            "clock": np.zeros(1),
        }

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """By priority."""
        del progress
        p = self._chances(state, k)
        arms = without_replacement(p, k, rng)
        clock = state["clock"] + 1
        last = state["last"].copy()
        last[list(arms)] = clock[0]
        chosen = Choice(arms, importance(p, arms, self.reweight), p)
        return chosen, {**state, "last": last, "clock": clock}

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Remember the latest excess; a task that diverged counts as the hardest there is."""
        score = state["score"].copy()
        excess = feedback.excess.mean(1)
        score[list(choice.arms)] = np.where(np.isfinite(excess), excess, np.inf)
        return {**state, "score": score}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The task with the highest priority; nobody asks."""
        del evidence, rng
        return one_hot(len(state["score"]), int(self._chances(state, 1).argmax()))

    def _chances(self, state: State, k: int) -> np.ndarray:
        score = state["score"]
        unseen = np.isnan(score)
        if unseen.sum() >= k:
            return floored(unseen / unseen.sum(), self.eps)
        order = np.argsort(-np.where(unseen, np.inf, score), kind="stable")
        rank = np.empty(len(score))
        rank[order] = np.arange(1, len(score) + 1)
        # In logarithms: with a small beta most powers of ranks are below any float.
        log_s = -np.log(rank) / self.beta
        by_rank = np.exp(log_s - np.logaddexp.reduce(log_s))
        stale = state["clock"][0] - state["last"] + 1e-9
        mixed = (1 - self.rho) * by_rank + self.rho * stale / stale.sum()
        return floored(mixed, self.eps)
