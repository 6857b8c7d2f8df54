"""Mutual learning: whoever plays also learns from what the others see; the best goes out."""

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
    one_hot,
)
from metasearch.selectors.paired import means
from metasearch.selectors.turns import even_start, least_spent, noted


@component
class Mutual:
    """All train by turns; in its turn a model is also drawn to what the others make of its images.

    What the others say costs the trial one gradient evaluation for each image and model asked. With
    `kappa` 0 nobody is asked, and the models are independent. What was learned is in every model,
    so one of them goes out: the best on the `inner` tasks.

    Source: Zhang et al., "Deep Mutual Learning", 2018, section 3.3, with the mean of the others as
    the one teacher. Differs: models learn by turns of a segment instead of at every step, the
    divergence is from the learner to its teacher, of pixels instead of classes, and is weighed.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})

    name: Literal["mutual"] = "mutual"
    kappa: float = 0.3  # nats of a loss for each nat that pixels are apart from the others'

    def __post_init__(self) -> None:
        """Refuse to drive models apart."""
        at_least(self, kappa=0)

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
        """The best."""
        del rng
        losses = means(state["losses"] if evidence is None else evidence.losses)
        return one_hot(len(losses), int(losses.argmin()))
