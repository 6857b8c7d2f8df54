"""Elastic averaging: members train apart and are pulled towards their mean."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import component
from metasearch.selectors.base import (
    Arms,
    Axis,
    Choice,
    Evidence,
    Exchange,
    Feedback,
    Kind,
    Need,
    Play,
    State,
    one_hot,
)
from metasearch.selectors.paired import means
from metasearch.selectors.turns import even_start, least_spent, noted


@component
class Elastic:
    """After every round of turns, each member moves the share `rho` of its way to the mean.

    With `rho` 0 they are independent; with 1, one model after every round.

    Source: Zhang, Choromanska & LeCun, "Deep Learning with Elastic Averaging SGD", 2015, eq. 5.
    Differs: members take turns instead of running at once, and meet at the mean, not a centre.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})
    alike: ClassVar[bool] = True
    merges: ClassVar[bool] = True

    name: Literal["elastic"] = "elastic"
    rho: float = 0.1

    def __post_init__(self) -> None:
        """Refuse pulls beyond the mean."""
        if not 0 <= self.rho <= 1:
            raise ValueError("rho must be from 0 to 1")

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

    def exchange(self, state: State, rng: np.random.Generator) -> tuple[Exchange, State]:
        """A pull, once everybody had as many turns."""
        del rng
        even = state["turns"].min() == state["turns"].max()
        return Exchange(pull=self.rho if even else 0.0), state

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The mean of all, or the best member if it is better on the `inner` tasks."""
        del rng
        n = len(state["spent"])
        mean = np.full(n, 1 / n)
        if evidence is None or evidence.loss_of is None:
            return mean
        losses = means(evidence.losses)
        best = int(losses.argmin())
        return mean if evidence.loss_of(mean) <= losses[best] else one_hot(n, best)
