"""Successive halving of models: the worst leave at every rung, the best get their budget."""

from __future__ import annotations

from math import ceil
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
from metasearch.selectors.paired import means, signed_rank
from metasearch.selectors.turns import even_start, least_spent, noted


@component
class Halving:
    """All play `first` segments; then ceil(n / eta) stay, who play eta times as many, and so on.

    With a `guard`, one that is not clearly worse than the last who stays is not dropped.

    Source: Jamieson & Talwalkar, "Non-stochastic Best Arm Identification", 2016, figure 3.
    Differs: the guard, a paired test over the `inner` tasks.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})

    name: Literal["halving"] = "halving"
    eta: float = 3.0
    first: int = 5  # segments of each model before the first cut
    guard: float = 0.2  # p above which a difference is not clear; 1 for no guard

    def __post_init__(self) -> None:
        """Refuse rungs of no length."""
        at_least(self, eta=1, first=1)
        if not 0 <= self.guard <= 1:
            raise ValueError("guard must be from 0 to 1")

    def init(self, arms: Arms) -> State:
        """All play."""
        rung = np.array([float(self.first)])
        return {**even_start(arms), "playing": np.ones(arms.n, dtype=np.int64), "rung": rung}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """The one that spent least of those that are left."""
        del k, progress
        return least_spent(state, state["playing"], rng), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Cut, once all that are left have reached the rung."""
        state = noted(state, choice, feedback)
        playing = np.flatnonzero(state["playing"])
        if len(playing) == 1 or (state["turns"][playing] < state["rung"][0]).any():
            return state
        order = playing[np.argsort(means(state["losses"])[playing], kind="stable")]
        keep = ceil(len(order) / self.eta)
        last = order[keep - 1]
        left = [*order[:keep], *(i for i in order[keep:] if self._close(state, i, last))]
        stays = np.zeros_like(state["playing"])
        stays[left] = 1
        return {**state, "playing": stays, "rung": state["rung"] * self.eta}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The best of those that are left."""
        del rng
        losses = means(state["losses"] if evidence is None else evidence.losses)
        losses = np.where(state["playing"] > 0, losses, np.inf)
        if not np.isfinite(losses).any():
            return one_hot(len(losses), int(state["playing"].argmax()))
        return one_hot(len(losses), int(losses.argmin()))

    def _close(self, state: State, arm: int, last: int) -> bool:
        losses = state["losses"]
        return signed_rank(losses[arm] - losses[last]) > self.guard
