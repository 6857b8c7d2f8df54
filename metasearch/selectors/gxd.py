"""Every generator against every discriminator: the worst of each learns from the best."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import at_least, component
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

PLAYERS = ("first", "second")  # of the game, in the order of the family's players


@component
class GxD:
    """A payoff matrix between the two players of a game, over all members of a population.

    A member's fitness in a role is its mean (or worst) loss against every opponent. When it is
    time, the least fit in a role becomes a copy of the fittest, unless all are equally fit: in a
    game like rock, paper, scissors nobody is eliminated.

    Source: Schmiedlechner et al., "Lipizzaner", 2018, section 3 (all-pairs fitness, replacement of
    the worst). Differs: one population instead of a grid of neighbourhoods.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation", "payoff"})
    alike: ClassVar[bool] = True
    merges: ClassVar[bool] = False

    name: Literal["gxd"] = "gxd"
    rounds: int = 2  # segments of each member between two replacements
    fitness: Literal["mean", "worst"] = "mean"  # over opponents

    def __post_init__(self) -> None:
        """Refuse replacements that never come."""
        at_least(self, rounds=1)

    def init(self, arms: Arms) -> State:
        """Nobody met."""
        n = arms.n
        return {
            **even_start(arms),
            "payoff": np.zeros((2, n, n)),
            "held": np.zeros(1, dtype=np.int64),
        }

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """The one that spent least."""
        del k, progress
        return least_spent(state, np.ones(len(state["spent"])), rng), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Write down losses and the latest payoff."""
        noticed = noted(state, choice, feedback)
        return noticed if feedback.payoff is None else {**noticed, "payoff": feedback.payoff}

    def exchange(self, state: State, rng: np.random.Generator) -> tuple[Exchange, State]:
        """In each role, the least fit becomes a copy of the fittest, when it is time."""
        del rng
        if state["turns"].min() < self.rounds * (state["held"][0] + 1):
            return Exchange(), state
        copies = []
        for role, player in enumerate(PLAYERS):
            losses = self._fitness(state["payoff"][role], opponents=1 - role)
            worst, best = int(losses.argmax()), int(losses.argmin())
            if losses[worst] - losses[best] > 1e-9 * max(1.0, abs(float(losses[best]))):
                copies.append((worst, best, player))
        return Exchange(tuple(copies)), {**state, "held": state["held"] + 1}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The best on the `inner` tasks."""
        del rng
        losses = means(state["losses"] if evidence is None else evidence.losses)
        return one_hot(len(losses), int(losses.argmin()))

    def _fitness(self, payoff: np.ndarray, *, opponents: int) -> np.ndarray:
        """Loss of each in its role, [n], over the opponents: columns, or rows of the second."""
        finite = np.where(np.isfinite(payoff), payoff, np.inf)
        axis = 1 if opponents == 1 else 0
        return finite.mean(axis) if self.fitness == "mean" else finite.max(axis)
