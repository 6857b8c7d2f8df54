"""Online hard task mining: part of every meta-batch from the tasks that did worst."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import at_least, component
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
    State,
    one_hot,
)


@component
class OHTM:
    """After a warm-up, a fraction of each batch comes from a buffer of the hardest tasks.

    Source: Kumar, Deleu & Bengio, "The Effect of Diversity in Meta-Learning", 2022, section 3
    (online hard task mining). Differs: tasks in the buffer are drawn evenly, by excess loss.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tasks"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = NOTHING

    name: Literal["ohtm"] = "ohtm"
    buffer: int = 50  # of the hardest tasks seen so far
    frac: float = 0.5  # share of a batch that comes from it
    warm_up: int = 32  # batches before
    eps: float = 0.0  # share of the buffer's part that is drawn from all tasks after all

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        at_least(self, buffer=1, warm_up=0)
        if not 0 <= self.frac <= 1 or not 0 <= self.eps <= 1:
            raise ValueError("frac and eps must be from 0 to 1")

    def init(self, arms: Arms) -> State:
        """Nothing was seen."""
        return {"score": np.full(arms.n, np.nan), "clock": np.zeros(1)}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """Some of the hardest, the rest of all."""
        del progress
        n = len(state["score"])
        k, hardest = min(k, n), self._hardest(state)
        hard = min(int(rng.binomial(k, self.frac * (1 - self.eps))), len(hardest))
        first = rng.choice(hardest, size=hard, replace=False) if hard else np.empty(0, np.int64)
        rest = np.setdiff1d(np.arange(n), first)
        arms = [*first, *rng.choice(rest, size=k - hard, replace=False)]
        chosen = Choice(tuple(map(int, arms)), (1 / k,) * k, self._chances(hardest, n))
        return chosen, {**state, "clock": state["clock"] + 1}

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Remember the latest excess; a task that diverged counts as the hardest there is."""
        score = state["score"].copy()
        excess = feedback.excess.mean(1)
        score[list(choice.arms)] = np.where(np.isfinite(excess), excess, np.inf)
        return {**state, "score": score}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The hardest task; nobody asks."""
        del evidence, rng
        return one_hot(
            len(state["score"]), int(np.nan_to_num(state["score"], nan=-np.inf).argmax())
        )

    def _hardest(self, state: State) -> np.ndarray:
        seen = np.flatnonzero(~np.isnan(state["score"]))
        if state["clock"][0] < self.warm_up or not len(seen):
            return np.empty(0, np.int64)
        order = np.argsort(-state["score"][seen], kind="stable")
        found: np.ndarray = seen[order[: self.buffer]]
        return found

    def _chances(self, hardest: np.ndarray, n: int) -> np.ndarray:
        share = self.frac * (1 - self.eps) if len(hardest) else 0.0
        p = np.full(n, (1 - share) / n)
        p[hardest] += share / max(len(hardest), 1)
        return p
