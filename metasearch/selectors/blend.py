"""A blend of algorithms: their gradients added up, more of those that agree with the aim."""

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


@component
class Blend:
    """Weights on the simplex, moved by the alignment with the gradient on the `inner` tasks.

    Gradients are brought to one length before they are added. At a step of 0 the blend stays
    uniform, and the random rule is its unbiased one-sample estimate.

    Source: Du et al., "Adapting Auxiliary Losses Using Gradient Similarity", 2018, for weights by
    alignment. Differs: exponentiated steps on the simplex.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"algorithms"})
    play: ClassVar[Play] = "blend"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation", "sketch"})

    name: Literal["blend"] = "blend"
    eta: float = 0.1  # step of the weights
    eps: float = 0.0  # share of the uniform blend

    def __post_init__(self) -> None:
        """Refuse what is no step and no share."""
        if self.eta < 0 or not 0 <= self.eps <= 1:
            raise ValueError("eta must not be negative, and eps must be from 0 to 1")

    def init(self, arms: Arms) -> State:
        """Uniform."""
        return {"log_lambda": np.full(arms.n, -np.log(max(arms.n, 1)))}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """All, by weight."""
        del k, rng, progress
        n = len(state["log_lambda"])
        share = (1 - self.eps) * np.exp(state["log_lambda"]) + self.eps / n
        return Choice(tuple(range(n)), tuple((share / share.sum()).tolist()), share), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Towards the arms whose gradients point where the `inner` tasks want to go."""
        if feedback.sketch is None or feedback.common is None:
            return state
        length = np.linalg.norm(feedback.sketch, axis=1) * np.linalg.norm(feedback.common)
        cosine = feedback.sketch @ feedback.common / np.maximum(length, 1e-30)
        log_lambda = state["log_lambda"].copy()
        log_lambda[list(choice.arms)] += self.eta * np.nan_to_num(cosine)
        return {"log_lambda": log_lambda - np.logaddexp.reduce(log_lambda)}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """All learned the one state; on unseen tasks it adapts by the inner loop of most weight."""
        del evidence, rng
        return one_hot(len(state["log_lambda"]), int(state["log_lambda"].argmax()))
