"""What an engine does: give each of several tasks its own fast weights, and differentiate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from metasearch.models.base import Learner, Nets, Params
from metasearch.registry import component

Order = Literal[1, 2]
Rates = Literal["fixed", "per_tensor", "per_step", "per_parameter"]
Schedule = Literal["constant", "cosine", "linear"]


@component
class InnerLoop:
    """How one task is adapted: the part of a recipe that a bundle takes along."""

    steps: int = 5  # inner steps; in each, every turn of the family's game is played once
    test_steps: int | None = None  # on unseen tasks and in use; None: as many as in training
    lr: float = 0.01  # of the per-image mean loss
    optimizer: Literal["sgd", "adam"] = "sgd"  # its memory starts anew with each task
    momentum: float = 0.0  # of sgd
    clip: float = 10.0  # largest gradient norm of one player in one task; 0 clips nothing
    play: Literal["alternating", "simultaneous"] = "alternating"
    adapts: str = "all"  # "all", "head", "film", "code", or a net of the family
    rates: Rates = "fixed"  # what is meta-learned of the rate, starting from `lr`
    schedule: Schedule = "constant"  # of the rate over the steps, down to a tenth
    proximal: float = 0.0  # adds proximal / 2 times the squared way from the start to the loss

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if min(self.steps, self.test_steps or 0, self.lr, self.clip, self.proximal) < 0:
            raise ValueError("steps, test_steps, lr, clip and proximal must not be negative")
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum must be at least 0 and below 1")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum is of optimizer: sgd; {self.optimizer} has its own")

    def moves(self, learner: Learner, player: str) -> int:
        """How often a player of the learner's game moves in all steps."""
        turns = learner.family.turns.count(player)
        return self.steps * (turns if self.play == "alternating" else 1)

    def at_test(self) -> InnerLoop:
        """The loop as it runs on unseen tasks."""
        return self if self.test_steps is None else replace(self, steps=self.test_steps)


@dataclass(frozen=True)
class TaskGradients:
    """One gradient per meta-parameter, averaged over the tasks that stayed finite."""

    values: Params
    finite: Tensor  # bool [tasks]: which tasks were counted
    rates: Params = field(default_factory=dict)  # the same for the inner loop's learned rates


class Adapted(Protocol):
    """Tasks with fast weights. `nets` act on flat batches [tasks * n, ...], tasks outermost."""

    learner: Learner
    tasks: int

    @property
    def nets(self) -> Nets:
        """The nets with each task's own fast weights."""
        ...

    @property
    def gradients(self) -> int:
        """Gradient evaluations so far, one per image and player: the currency of budgets."""
        ...

    def step(self, player: str, loss: Tensor) -> None:
        """One inner step of `player` on its per-image loss [tasks * n], in every task at once."""
        ...

    def play(self, losses: Mapping[str, Tensor]) -> None:
        """One simultaneous step: all gradients at the old values, then all moves."""
        ...

    def meta_gradient(self, losses: Mapping[str, Tensor], order: Order) -> TaskGradients:
        """The gradient of each player's loss with respect to that player's meta-parameters.

        `losses` are per image [tasks * n], computed with `nets` after adaptation. Order 1 takes
        the gradient at the fast weights (FOMAML); order 2 differentiates through the inner steps.
        """
        ...

    def displacement(self, weights: Tensor | None = None) -> TaskGradients:
        """Meta-parameters minus fast weights, averaged over finite tasks (Reptile's gradient).

        `weights` [tasks] with mean 1 count a task more or less.
        """
        ...

    def sketch(self, dims: int) -> Tensor:
        """A random projection of each task's displacement, [tasks, dims]; see `of_stacked`."""
        ...

    def state(self, task: int) -> Params:
        """The fast weights of one task, detached."""
        ...


class Engine(Protocol):
    """Opens learners for several tasks at once."""

    @property
    def name(self) -> str:
        """What a search file calls it."""
        ...

    @property
    def memory_mb(self) -> int:
        """What the tasks of a meta-step may take together; more of them run in parts."""
        ...

    def open(
        self,
        learner: Learner,
        tasks: int,
        inner: InnerLoop,
        *,
        order: Order = 1,
        rates: Params | None = None,
    ) -> Adapted:
        """Start every task at the meta-parameters; `order` 2 keeps the graph of the inner steps.

        `rates` are the learned ones, as `first_rates` makes them; None takes ``inner.lr``.

        Raises:
            ConfigError: the family has no part called ``inner.adapts``.
        """
        ...


def first_rates(learner: Learner, inner: InnerLoop) -> Params:
    """The rates a learner starts with, by parameter; empty if they are not learned.

    Per tensor a number [], per step one for each inner step [steps], per parameter one for each
    weight, in its shape. All are logarithms: a rate stays positive whatever the outer step does.

    Source: per parameter, Li et al., "Meta-SGD", 2017; per tensor and step, Antoniou et al.,
    "How to train your MAML", 2019, section 4. Differs: rates are learned as logarithms.
    """
    start = math.log(max(inner.lr, 1e-8))
    shapes = {"per_tensor": (), "per_step": (max(inner.steps, 1),)}
    if inner.rates == "fixed":
        return {}
    moving = learner.adapting(inner.adapts)
    return {
        name: torch.full(shapes.get(inner.rates, p.shape), start, dtype=p.dtype, device=p.device)
        for name, p in learner.parameters().items()
        if name in moving
    }


def decay(schedule: Schedule, done: float) -> float:
    """The factor on a rate: 1 at the start, a tenth at the end unless constant."""
    done = min(max(done, 0.0), 1.0)
    if schedule == "cosine":
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))
    return 1 - 0.9 * done if schedule == "linear" else 1.0


def rate_at(rates: Params, inner: InnerLoop, name: str, step: int) -> Tensor | float:
    """What multiplies a direction at the `step`-th move, counted from 0.

    Steps beyond those that were trained go on with the last one's rate.
    """
    found = rates.get(name)
    if found is None:
        return inner.lr
    return (found[min(step, len(found) - 1)] if inner.rates == "per_step" else found).exp()
