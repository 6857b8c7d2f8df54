"""A soup of models: their weights averaged, as long as it helps."""

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
class Soup:
    """Members from one initialisation, each trained on other tasks, averaged greedily.

    Source: Wortsman et al., "Model soups", 2022, recipe 1 (greedy soup). On the `inner` tasks it is
    no worse than the best member by construction.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})
    alike: ClassVar[bool] = True
    merges: ClassVar[bool] = True

    name: Literal["soup"] = "soup"

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
        """Nothing before the end."""
        del rng
        return Exchange(), state

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The best first; each next one joins if the average gains by it."""
        del rng
        n = len(state["spent"])
        if evidence is None or evidence.loss_of is None:
            return np.full(n, 1 / n)
        losses = means(evidence.losses)
        order = np.argsort(losses, kind="stable")
        chosen, best = [int(order[0])], float(losses[order[0]])
        for arm in order[1:]:
            more = [*chosen, int(arm)]
            loss = evidence.loss_of(sum((one_hot(n, i) for i in more), np.zeros(n)) / len(more))
            if loss <= best:
                chosen, best = more, loss
        found: np.ndarray = sum((one_hot(n, i) for i in chosen), np.zeros(n)) / len(chosen)
        return found
