"""A selector: everybody in turn, in a fixed order."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

import metasearch
from metasearch.selectors.base import (
    ALL,
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
)


@metasearch.component
class Rota:
    """Arm after arm, and from the first again."""

    kind: ClassVar[Kind] = "random"
    axes: ClassVar[frozenset[Axis]] = ALL
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = NOTHING

    name: Literal["rota"] = "rota"

    def init(self, arms: Arms) -> State:
        """Begin with the first."""
        return {"n": np.array(arms.n), "next": np.array(0)}

    def choose(
        self,
        state: State,
        k: int,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float = 0.0,  # noqa: ARG002
    ) -> tuple[Choice, State]:
        """The next `k`."""
        n, first = int(state["n"]), int(state["next"])
        k = min(k, n)
        arms = tuple((first + i) % n for i in range(k))
        choice = Choice(arms, (1 / k,) * k, np.full(n, 1 / n))
        return choice, {**state, "next": np.array((first + k) % n)}

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:  # noqa: ARG002
        """Learns nothing."""
        return state

    def final(
        self,
        state: State,
        evidence: Evidence | None,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
    ) -> np.ndarray:
        """All alike."""
        n = int(state["n"])
        return np.full(n, 1 / n)
