"""A mixture of models: all train, and what is drawn comes from any of them, by weight."""

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
)
from metasearch.selectors.shares import best_shares
from metasearch.selectors.turns import even_start, least_spent, noted


@component
class Mixture:
    """Weights by EM where probabilities are known, by a quadratic programme on MMD^2 where not.

    Both are fitted on the `inner` tasks, so a mixture is there no worse than its best member. The
    bundle is the mixture: adapting adapts every part.

    Source: Toutouh, Hemberg & O'Reilly, "Re-purposing Heterogeneous Generative Ensembles", 2020,
    for mixtures of samplers. Differs: the weights are the minimum itself, not an evolution's.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})

    name: Literal["mixture"] = "mixture"

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
        """The best weights on the simplex."""
        del rng
        return best_shares(evidence, len(state["spent"]))
