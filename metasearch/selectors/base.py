"""Who gets a turn: one idea for tasks, algorithms and models. NumPy only, state in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

State = Mapping[str, np.ndarray]
"""A selector's whole memory as named arrays, so that any checkpoint can hold it."""


@dataclass(frozen=True)
class Choice:
    """What was picked, and with what chances."""

    arms: tuple[int, ...]  # distinct
    weights: tuple[float, ...]  # how much each counts; they sum to 1
    probabilities: np.ndarray  # [n_arms]: chance of each arm per draw, for logs and reweighting


@dataclass(frozen=True)
class Feedback:
    """What a pick brought, per chosen arm, in its order. All a selector ever learns from."""

    before: np.ndarray  # [k] query loss before adaptation; NaN where not measured
    after: np.ndarray  # [k] query loss after adaptation; NaN where the task diverged
    excess: np.ndarray  # [k] `after` less the task's closed-form reference: comparable across tasks
    cost: np.ndarray  # [k] gradient evaluations spent
    sketch: np.ndarray | None = field(default=None)  # [k, d] projected meta-gradients, if asked for


class Selector(Protocol):
    """Picks `k` of `n_arms`, and learns from what came of it."""

    @property
    def name(self) -> str:
        """What a search file calls it."""
        ...

    def init(self, n_arms: int, groups: np.ndarray | None = None) -> State:
        """The memory at the start; `groups` [n_arms] gives each arm's group, if there are any."""
        ...

    def choose(self, state: State, k: int, rng: np.random.Generator) -> tuple[Choice, State]:
        """Pick `k` different arms (all of them if there are fewer)."""
        ...

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """The memory after seeing what the choice brought. Never changes `state` in place."""
        ...
