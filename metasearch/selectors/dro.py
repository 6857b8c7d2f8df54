"""Distributional robustness: the tasks, or groups of them, that do worst get more turns."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import component
from metasearch.selectors.base import (
    NOTHING,
    Arms,
    Axis,
    Choice,
    Evidence,
    Feedback,
    Kind,
    Need,
    Play,
    Reweight,
    State,
    floored,
    importance,
    one_hot,
    without_replacement,
)

TINY = 1e-12  # a chance of nothing, of which there is a logarithm


@component
class DRO:
    """Gradient ascent of chances on excess loss: min over weights, max over tasks.

    `exponentiated` multiplies chances, by at most e a step. `projected` adds to them and goes back
    to the nearest point of the simplex, which can take a chance down to the floor at once; chances
    of many tasks are small numbers, so its `eta` is, too: 1e-5 for a thousand tasks.

    Source: Sagawa et al., "Distributionally Robust Neural Networks", 2020, algorithm 1; projected
    as in Collins, Mokhtari & Shakkottai, "Task-Robust Model-Agnostic Meta-Learning", 2020,
    algorithm 1. Differs: the loss is the excess over the task's closed-form reference, so that
    tasks with many strokes are not taken for hard ones; it is centred on its running mean, which
    moves nothing in expectation; and a task is drawn by its chance, instead of a loss weighted by
    it.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tasks"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = NOTHING

    name: Literal["dro"] = "dro"
    eta: float = 0.01  # step of the chances
    level: Literal["group", "task"] = "group"  # what competes: whole groups, or each task
    ascent: Literal["exponentiated", "projected"] = "exponentiated"  # see above
    eps: float = 0.1  # share of uniform draws
    reweight: Reweight = "none"

    def __post_init__(self) -> None:
        """Refuse shares and steps that mean nothing."""
        if self.eta < 0 or not 0 <= self.eps <= 1:
            raise ValueError("eta must not be negative, and eps must be from 0 to 1")

    def init(self, arms: Arms) -> State:
        """All competitors the same chance."""
        grouped = self.level == "group" and arms.groups is not None
        owner = np.asarray(arms.groups) if grouped else np.arange(arms.n)
        rivals = int(owner.max()) + 1
        return {
            "owner": owner.astype(np.int64),
            "log_q": np.full(rivals, -np.log(rivals)),
            "mean": np.zeros(1),
            "seen": np.zeros(1),
        }

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """By chance of the group, evenly within it."""
        del progress
        p = self._chances(state)
        arms = without_replacement(p, k, rng)
        return Choice(arms, importance(p, arms, self.reweight), p), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Raise the chances of those that did worse than the running mean, lower the others'."""
        excess = feedback.excess.mean(1)
        sound = np.isfinite(excess)
        if not sound.any():
            return state
        now, seen = excess[sound].mean(), float(state["seen"][0])
        mean = now if seen == 0 else state["mean"][0] + 0.1 * (now - state["mean"][0])
        owner = state["owner"][np.array(choice.arms)[sound]]
        q = floored(np.exp(state["log_q"]), self.eps)
        pull = np.zeros(len(q))
        np.add.at(pull, owner, self.eta * (excess[sound] - mean) / (len(q) * q[owner]))
        if self.ascent == "projected":
            risen = on_simplex(np.exp(state["log_q"]) + pull)
            log_q = np.log(np.maximum(risen, TINY))
        else:
            log_q = state["log_q"] + np.clip(pull, -1, 1)
        log_q = log_q - np.logaddexp.reduce(log_q)
        return {**state, "log_q": log_q, "mean": np.array([mean]), "seen": np.array([seen + 1])}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The task with the largest chance; nobody asks."""
        del evidence, rng
        return one_hot(len(state["owner"]), int(self._chances(state).argmax()))

    def _chances(self, state: State) -> np.ndarray:
        owner = state["owner"]
        sizes = np.bincount(owner, minlength=len(state["log_q"]))
        q = np.exp(state["log_q"]) * (sizes > 0)
        # The floor is even over tasks, so that at 1 it is the uniform draw of tasks.
        return floored((q / q.sum())[owner] / sizes[owner], self.eps)


def on_simplex(point: np.ndarray) -> np.ndarray:
    """The nearest point [n] that is not negative anywhere and sums to 1.

    Source: Held, Wolfe & Crowder, "Validation of Subgradient Optimization", 1974; by sorting.
    """
    falling = np.sort(point)[::-1]
    over = (np.cumsum(falling) - 1) / np.arange(1, len(point) + 1)
    last = np.flatnonzero(falling > over)[-1]
    found: np.ndarray = np.maximum(point - over[last], 0)
    return found
