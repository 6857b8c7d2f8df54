"""A race of algorithms: all run the same segment from the same start, and the best goes on."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import component
from metasearch.selectors.base import (
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
from metasearch.selectors.paired import means, signed_rank


@component
class Race:
    """Successive segments from the winner's state; an arm that is clearly worse drops out.

    Source: Maron & Moore, "Hoeffding Races", 1994; dropping by a paired test over instances as in
    Lopez-Ibanez et al., "The irace package", 2016. Differs: one segment is one instance block,
    and the winner's weights are what all go on from.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = frozenset({"algorithms"})
    play: ClassVar[Play] = "race"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})

    name: Literal["race"] = "race"
    alpha: float = 0.05  # level of the one-sided test, per segment and arm

    def __post_init__(self) -> None:
        """Refuse a level that is none."""
        if not 0 <= self.alpha <= 1:
            raise ValueError("alpha must be from 0 to 1")

    def init(self, arms: Arms) -> State:
        """All run."""
        return {"running": np.ones(arms.n, dtype=np.int64), "wins": np.zeros(arms.n)}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """All that are still running."""
        del k, rng, progress
        running = np.flatnonzero(state["running"])
        share = 1 / len(running)
        p = np.where(state["running"] > 0, share, 0.0)
        return Choice(tuple(map(int, running)), (share,) * len(running), p), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Drop whoever did worse than the best, task by task; the best stays."""
        best = int(means(feedback.after).argmin())
        running, wins = state["running"].copy(), state["wins"].copy()
        wins[choice.arms[best]] += 1
        for i, arm in enumerate(choice.arms):
            if i != best and signed_rank(feedback.after[i] - feedback.after[best]) < self.alpha:
                running[arm] = 0
        return {"running": running, "wins": wins}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Of those still running, the best on the `inner` tasks; without evidence, by wins."""
        del rng
        losses = -state["wins"] if evidence is None else means(evidence.losses)
        losses = np.where(state["running"] > 0, losses, np.inf)
        return one_hot(len(losses), int(losses.argmin()))
