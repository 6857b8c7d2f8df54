"""Who gets a turn: one idea for tasks, algorithms and models. NumPy only, state in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np

State = Mapping[str, np.ndarray]
"""A selector's whole memory as named arrays, so that any checkpoint can hold it."""

Kind = Literal["random", "competitive", "cooperative"]
Axis = Literal["tasks", "algorithms", "models"]
Play = Literal["one", "blend", "race"]
Reweight = Literal["none", "is"]
Need = Literal["before", "sketch", "embedding", "validation", "payoff"]


@dataclass(frozen=True)
class Arms:
    """What there is to choose from, as far as a rule may know it."""

    n: int
    groups: np.ndarray | None = None  # int [n]: the group of each, if there are any
    embedding: np.ndarray | None = None  # [n, d] unit vectors: what each task looks like


@dataclass(frozen=True)
class Choice:
    """What was picked, and with what chances."""

    arms: tuple[int, ...]  # distinct
    weights: tuple[float, ...]  # how much each counts; they sum to 1
    probabilities: np.ndarray  # [n_arms]: chance of each arm per draw, for logs and reweighting
    surgery: bool = False  # of tasks: project conflicts out of each other's meta-gradients


@dataclass(frozen=True)
class Feedback:
    """What a pick brought, per chosen arm, in its order. All a selector ever learns from.

    A task is measured on its own query (v = 1), an algorithm or a model on the same few `inner`
    tasks (v of them), so that arms are compared task by task. Losses are better when lower. Rules
    for tasks that need "before" get both losses without adaptation, around the outer move: what the
    meta-step taught. The others get in `after` what the meta-step itself saw.
    """

    before: np.ndarray  # [k, v] loss before the pick was played; NaN where not measured
    after: np.ndarray  # [k, v] loss after it; NaN where the task diverged
    excess: np.ndarray  # [k, v] `after` less the task's closed-form reference, where there is one
    cost: np.ndarray  # [k] gradient evaluations spent
    sketch: np.ndarray | None = field(default=None)  # [k, d] meta-gradient of each, projected
    common: np.ndarray | None = field(default=None)  # [d] where the `inner` tasks go, likewise
    payoff: np.ndarray | None = field(default=None)  # [2, n, n] losses of the first and the second
    # player of a game, its first player from member i and its second from member j


@dataclass(frozen=True)
class Evidence:
    """What is known of all arms on the `inner` tasks when it comes to what a trial stands for."""

    losses: np.ndarray  # [n, v] loss of each arm on each task
    log_likelihood: np.ndarray | None = None  # [n, q] nats of each query image, where known
    gram: np.ndarray | None = None  # [n, n] mean kernel between the samples of two arms
    cross: np.ndarray | None = None  # [n] mean kernel between the samples of an arm and real images
    loss_of: Callable[[np.ndarray], float] | None = None  # of weights merged by shares [n]


@dataclass(frozen=True)
class Exchange:
    """What members of a population do to each other at the end of a segment."""

    copies: tuple[tuple[int, int, str], ...] = ()  # (to, from, "first" or "second" player or "")
    rates: Mapping[int, float] = field(default_factory=dict)  # factor on a member's outer rate
    pull: float = 0.0  # share of the way that each member moves to the mean of all


class Selector(Protocol):
    """Picks `k` of `n` arms, and learns from what came of it."""

    @property
    def name(self) -> str:
        """What a search file calls it."""
        ...

    @property
    def kind(self) -> Kind:
        """Random; competitive: arms win turns from each other; cooperative: they share them."""
        ...

    @property
    def axes(self) -> frozenset[Axis]:
        """What it can choose among."""
        ...

    @property
    def play(self) -> Play:
        """What becomes of several algorithms or models that are chosen for one segment.

        "one": only one is chosen. "blend": their gradients are added, by weight. "race": each
        plays the segment from the same start on the same tasks, and the best on `inner` stays.
        """
        ...

    @property
    def needs(self) -> frozenset[Need]:
        """What it wants to be told that costs something to find out."""
        ...

    def init(self, arms: Arms) -> State:
        """The memory at the start."""
        ...

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """Pick `k` different arms (all if there are fewer); `progress` is the spent budget."""
        ...

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """The memory after seeing what the choice brought. Never changes `state` in place."""
        ...

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The share of each arm in what the trial stands for, [n], summing to 1.

        Asked of algorithms and models, never of tasks; `evidence` is there if it `needs`
        "validation".
        """
        ...


@runtime_checkable
class Exchanger(Selector, Protocol):
    """A rule for models whose members act on each other, not only on whose turn it is."""

    @property
    def alike(self) -> bool:
        """Whether all members must be of one family with the same settings."""
        ...

    @property
    def merges(self) -> bool:
        """Whether the shares of `final` average weights (a soup) rather than predictions.

        Such members start from one initialisation.
        """
        ...

    def exchange(self, state: State, rng: np.random.Generator) -> tuple[Exchange, State]:
        """What happens at the end of a segment, after `update`."""
        ...


@runtime_checkable
class Teaching(Selector, Protocol):
    """A rule for models by which whoever plays also learns from what the others see."""

    @property
    def kappa(self) -> float:
        """What the divergence from the others' pixels weighs in a loss; at 0 nobody is asked."""
        ...


ALL: frozenset[Axis] = frozenset({"tasks", "algorithms", "models"})
NOTHING: frozenset[Need] = frozenset()


def one_hot(n: int, arm: int) -> np.ndarray:
    """All share to one arm, [n]."""
    share = np.zeros(n)
    share[arm] = 1.0
    return share


def floored(probabilities: np.ndarray, eps: float) -> np.ndarray:
    """Mixed with the uniform distribution: ``(1 - eps) q + eps / n``; at 1, the uniform one."""
    return (1 - eps) * probabilities + eps / len(probabilities)


def without_replacement(
    probabilities: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """`k` different arms, drawn one after another with these chances (all if there are fewer)."""
    n = len(probabilities)
    picked = rng.choice(n, size=min(k, n), replace=False, p=probabilities / probabilities.sum())
    return tuple(map(int, picked))


def importance(probabilities: np.ndarray, arms: Sequence[int], how: Reweight) -> tuple[float, ...]:
    """What each drawn arm counts, summing to 1: the same, or as much as it was unlikely.

    "is" makes the weighted mean that of uniform draws, up to the clipping of weights at 5 times the
    even one, and to dividing by their sum, whose bias falls with the number of arms drawn.
    """
    if how == "none":
        return (1 / len(arms),) * len(arms)
    w = np.minimum(1 / (len(probabilities) * probabilities[list(arms)]), 5.0)
    return tuple((w / w.sum()).tolist())
