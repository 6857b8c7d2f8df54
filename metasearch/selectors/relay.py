"""A relay of algorithms: each carries the weights for a share of the budget, then hands over."""

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
    State,
    one_hot,
)


@component
class Relay:
    """In the order in which the algorithms are listed, such as joint, reptile, maml."""

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"algorithms"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = NOTHING

    name: Literal["relay"] = "relay"
    breaks: tuple[float, ...] = ()  # shares of the budget at which it is handed over; () for even

    def __post_init__(self) -> None:
        """Refuse hand-overs that do not follow one another."""
        if list(self.breaks) != sorted(self.breaks) or not all(0 <= b <= 1 for b in self.breaks):
            raise ValueError("breaks must be ascending shares from 0 to 1")

    def init(self, arms: Arms) -> State:
        """The first carries."""
        if self.breaks and len(self.breaks) != arms.n - 1:
            raise ValueError(f"{arms.n} arms take {arms.n - 1} breaks, got {len(self.breaks)}")
        even = np.arange(1, arms.n) / max(arms.n, 1)
        return {"breaks": np.array(self.breaks or even, float), "arm": np.zeros(1, np.int64)}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """Whose stretch it is."""
        del k, rng
        arm = int(np.searchsorted(state["breaks"], progress, side="right"))
        p = one_hot(len(state["breaks"]) + 1, arm)
        return Choice((arm,), (1.0,), p), {**state, "arm": np.array([arm])}

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Learns nothing."""
        del choice, feedback
        return state

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The one that carries now."""
        del evidence, rng
        return one_hot(len(state["breaks"]) + 1, int(state["arm"][0]))
