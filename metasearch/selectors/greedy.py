"""A greedy ensemble: members are added, some of them twice, as long as it helps."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import at_least, component
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
)
from metasearch.selectors.paired import means
from metasearch.selectors.shares import discrepancy, forward_selection, mixture_nll
from metasearch.selectors.turns import even_start, least_spent, noted


@component
class Greedy:
    """Forward selection with replacement: weights with few distinct values, which overfit less.

    Source: Caruana et al., "Ensemble Selection from Libraries of Models", 2004, section 2.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})

    name: Literal["greedy"] = "greedy"
    size: int = 10  # picks at most

    def __post_init__(self) -> None:
        """Refuse an empty ensemble."""
        at_least(self, size=1)

    def init(self, arms: Arms) -> State:
        """Nobody played."""
        return even_start(arms)

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """The one that spent least."""
        del k, progress
        return least_spent(state, np.ones(len(state["spent"])), rng), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Write it down."""
        return noted(state, choice, feedback)

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The best bag of picks on the `inner` tasks."""
        del rng
        n = len(state["spent"])
        if evidence is None:
            return np.full(n, 1 / n)
        nats, gram, cross = evidence.log_likelihood, evidence.gram, evidence.cross
        if nats is not None:
            return forward_selection(lambda w: mixture_nll(nats, w), n, size=self.size)
        if gram is not None and cross is not None:
            return forward_selection(lambda w: discrepancy(gram, cross, w), n, size=self.size)
        return forward_selection(lambda w: float(w @ means(evidence.losses)), n, size=1)
