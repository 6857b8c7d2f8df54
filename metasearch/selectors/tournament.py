"""A tournament of models: the loser of a pair goes on from the winner's weights."""

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


@component
class Tournament:
    """After every `rounds` turns of each, all are paired at random; of a pair the better is copied.

    The best of all is never overwritten, since it loses to nobody.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017, section 3
    (binary tournament; perturbation by 0.8 or 1.2). Differs: only the outer rate is perturbed.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = frozenset({"models"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"validation"})
    alike: ClassVar[bool] = True
    merges: ClassVar[bool] = False

    name: Literal["tournament"] = "tournament"
    rounds: int = 2  # segments of each between two tournaments
    perturb: float = 1.2  # factor on the outer rate of a copy, or its inverse; 1 for none

    def __post_init__(self) -> None:
        """Refuse tournaments that never come."""
        at_least(self, rounds=1, perturb=1)

    def init(self, arms: Arms) -> State:
        """Nobody played."""
        return {**even_start(arms), "held": np.zeros(1, dtype=np.int64)}

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
        """Copies from the winners of pairs to the losers, when it is time."""
        if state["turns"].min() < self.rounds * (state["held"][0] + 1):
            return Exchange(), state
        losses, order = means(state["losses"]), rng.permutation(len(state["spent"]))
        kept = state["losses"].copy()
        copies, rates = [], {}
        for a, b in zip(order[::2], order[1::2], strict=False):
            if losses[a] == losses[b]:
                continue
            better, worse = (a, b) if losses[a] < losses[b] else (b, a)
            copies.append((int(worse), int(better), ""))
            rates[int(worse)] = self.perturb if rng.random() < 0.5 else 1 / self.perturb
            kept[worse] = kept[better]
        held = state["held"] + 1
        return Exchange(tuple(copies), rates), {**state, "held": held, "losses": kept}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The best on the `inner` tasks."""
        del rng
        losses = means(state["losses"] if evidence is None else evidence.losses)
        return one_hot(len(losses), int(losses.argmin()))
