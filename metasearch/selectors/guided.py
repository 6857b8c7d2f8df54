"""Tasks that teach what a few tasks kept aside ask for."""

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
    floored,
    one_hot,
    without_replacement,
)


@component
class Guided:
    """Chances by how far a task's meta-gradient points where the `inner` tasks want to go.

    To first order, a step along a task's gradient lowers the loss on the `inner` tasks by the inner
    product of the two: ``p_i ~ exp(cos_i / tau)``, with the running mean of a task's cosines, and
    for tasks that were never seen the mean of all that were. Where `diverse` goes with the majority
    of the tasks, this goes with those it is asked to be good at, few as they may be.

    Source: Fan, Pagliardini & Jaggi, "DoGE: Domain Reweighting with Generalization Estimation",
    2023, eq. 4; agreement with tasks kept aside is the chief factor of Yao et al., "Meta-learning
    with an Adaptive Task Scheduler", 2021, section 4. Differs: tasks are drawn by it instead of
    weighted, and no network is trained on it.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tasks"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"sketch", "validation"})

    name: Literal["guided"] = "guided"
    tau: float = 0.2  # temperature of agreement
    rate: float = 0.5  # share of a task's latest cosine in its running mean
    eps: float = 0.1  # share of uniform draws

    def __post_init__(self) -> None:
        """Refuse temperatures and shares that are none."""
        if self.tau <= 0 or not 0 < self.rate <= 1 or not 0 <= self.eps <= 1:
            raise ValueError("tau must be above 0, rate above 0 and at most 1, eps from 0 to 1")

    def init(self, arms: Arms) -> State:
        """Nothing was seen."""
        return {"cos": np.full(arms.n, np.nan)}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """By agreement."""
        del progress
        p = self._chances(state)
        arms = without_replacement(p, k, rng)
        return Choice(arms, (1 / len(arms),) * len(arms), p), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Take in how each task that was played agrees now."""
        if feedback.sketch is None or feedback.common is None:
            return state
        length = np.linalg.norm(feedback.sketch, axis=1) * np.linalg.norm(feedback.common)
        fresh = feedback.sketch @ feedback.common / np.maximum(length, 1e-30)
        sound = np.isfinite(fresh)
        arms, fresh = np.array(choice.arms)[sound], fresh[sound]
        cos = state["cos"].copy()
        old = np.where(np.isnan(cos[arms]), fresh, cos[arms])
        cos[arms] = old + self.rate * (fresh - old)
        return {"cos": cos}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The task that agrees most; nobody asks."""
        del evidence, rng
        return one_hot(len(state["cos"]), int(self._chances(state).argmax()))

    def _chances(self, state: State) -> np.ndarray:
        unseen = np.isnan(state["cos"])
        known = 0.0 if unseen.all() else state["cos"][~unseen].mean()
        cos = np.where(unseen, known, state["cos"])
        q = np.exp((cos - cos.max()) / self.tau)
        return floored(q / q.sum(), self.eps)
