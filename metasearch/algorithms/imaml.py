"""Implicit differentiation: where adaptation ends, not how it got there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call

from metasearch.algorithms.base import MetaGradient, MetaStep, Reads, inner_losses, meta_batch
from metasearch.engine.base import InnerLoop, TaskGradients
from metasearch.models.base import Learner, Net, Noise, NoiseSource, Params, rows
from metasearch.registry import at_least, component
from metasearch.tasks.base import Batch, Episodes

PROXIMAL = 100.0  # for losses of some hundred nats an image


@component
class IMAML:
    """MAML that asks only where a pulled-back inner loop ends, and solves for the derivative there.

    Where phi* minimises the support loss plus ``proximal / 2 ||phi - theta||^2``, its derivative in
    theta is ``(I + H / proximal)^-1``, with H the support loss's second derivative at phi*: no step
    of the inner loop is kept. The system is solved by conjugate gradients, task by task.

    Source: Rajeswaran, Finn, Kakade & Levine, "Meta-Learning with Implicit Gradients", 2019, eq. 6
    and algorithm 2. Differs: the pull is part of every inner step; parameters that the inner loop
    leaves alone are learned too. For one player only: the derivative of a game's steps is not
    symmetric, and conjugate gradients need that.
    """

    name: Literal["imaml"] = "imaml"
    inner: InnerLoop = InnerLoop(steps=16, proximal=PROXIMAL)  # `proximal: 0` counts as 100
    rounds: int = 5  # of conjugate gradients

    def __post_init__(self) -> None:
        """Refuse what solves nothing; an inner loop written without a pull gets the usual one."""
        at_least(self, rounds=1)
        if not self.inner.proximal:
            object.__setattr__(self, "inner", replace(self.inner, proximal=PROXIMAL))

    @property
    def trains(self) -> bool:
        """It meta-trains."""
        return True

    @property
    def reads(self) -> Reads:
        """Its gradient is a solution, not a place."""
        return ""

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """The mean over tasks of (I + H / proximal)^-1 d L(phi*; query) / d phi*."""
        return meta_batch(self._once, step, episodes, noise, inner=self.inner, order=1)

    def _once(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        learner, tasks = step.learner, len(episodes.tasks)
        (player,) = learner.family.players
        adapted = step.engine.open(learner, tasks, self.inner)
        inner_losses(adapted, self.inner, episodes.support, noise)
        moving = learner.adapting(self.inner.adapts)
        found: list[Params] = []
        losses: list[Tensor] = []
        for task, support, query in _by_task(episodes, noise):
            place = _Place(learner, player, adapted.state(task))
            losses.append(place.loss(*query))
            weight = 1.0 if step.weights is None else step.weights[task]
            judged = weight * losses[-1]
            found.append(self._implicit(place, place.loss(*support).mean(), judged, moving))
        # The support's gradient, a product with H in each round, and one across to still weights.
        passes = 1 + self.rounds + bool(found[0].keys() - moving)
        spent = passes * rows(episodes.support) + rows(episodes.query)
        whole = MetaGradient.of(step, adapted, _mean(found), {player: torch.cat(losses)})
        return replace(whole, gradients=whole.gradients + spent)

    def _implicit(
        self, place: _Place, support: Tensor, query: Tensor, moving: frozenset[str]
    ) -> Params:
        """One task's gradient, from its losses at phi*."""
        fast = [p for name, p in place.weights.items() if name in moving]
        still = [p for name, p in place.weights.items() if name not in moving]
        slope = _flat(_gradients(support, fast, create=True))
        direct = _gradients(query.mean(), [*fast, *still])
        pull = self.inner.proximal

        def product(v: Tensor) -> Tensor:
            return _flat(_gradients(slope @ v, fast)) + pull * v

        x = conjugate_gradients(product, _flat(direct[: len(fast)]), self.rounds)
        # How phi* follows the still weights: -(H + pull)^-1 d slope / d still.
        across = _gradients(slope @ x, still)
        moved = torch.split(pull * x, [p.numel() for p in fast])
        values = [part.reshape(p.shape) for part, p in zip(moved, fast, strict=True)]
        values += [g - a for g, a in zip(direct[len(fast) :], across, strict=True)]
        names = [name for name in place.weights if name in moving]
        names += [name for name in place.weights if name not in moving]
        return {name: g.detach() for name, g in zip(names, values, strict=True)}


@dataclass
class _Place:
    """One task's adapted weights, as leaves."""

    learner: Learner
    player: str
    weights: Params

    def __post_init__(self) -> None:
        self.weights = {name: p.clone().requires_grad_() for name, p in self.weights.items()}

    def loss(self, images: Batch, noise: Noise) -> Tensor:
        """Per image."""
        nets = {name: self._net(name) for name in self.learner.nets}
        return self.learner.family.loss(self.player, nets, images, noise)

    def _net(self, name: str) -> Net:
        own = {k.split(".", 1)[1]: p for k, p in self.weights.items() if k.startswith(f"{name}.")}
        net = self.learner.nets[name]
        return lambda *inputs: functional_call(net, own, inputs)


Side = tuple[Batch, Noise]


def _by_task(episodes: Episodes, noise: NoiseSource) -> Iterator[tuple[int, Side, Side]]:
    """Each task with its support and query, and the noise of their rows."""
    support = noise(episodes.support, "outer", "support")
    query = noise(episodes.query, "outer", "query")
    tasks = len(episodes.tasks)

    def cut(values: Batch | Noise, task: int) -> dict[str, Tensor]:
        return {k: v.reshape(tasks, -1, *v.shape[1:])[task] for k, v in values.items()}

    for task in range(tasks):
        yield (
            task,
            (cut(episodes.support, task), cut(support, task)),
            (cut(episodes.query, task), cut(query, task)),
        )


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, rounds: int) -> Tensor:
    """Solve A x = right for a symmetric positive A given by its products; starts at zero.

    Ends before its rounds where nothing is left to solve, or where A turns out not to be positive.

    Source: Hestenes & Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952.
    """
    x = torch.zeros_like(right)
    rest = right.clone()
    direction, size = rest, rest @ rest
    for _ in range(rounds):
        image = product(direction)
        curvature = direction @ image
        if bool(curvature <= 0):
            break
        step = size / curvature
        x, rest = x + step * direction, rest - step * image
        size, before = rest @ rest, size
        direction = rest + (size / before) * direction
    return x


def _gradients(value: Tensor, at: Sequence[Tensor], *, create: bool = False) -> tuple[Tensor, ...]:
    if not (at and value.requires_grad):  # where a loss is linear, its second derivative is zero
        return tuple(torch.zeros_like(p) for p in at)
    return torch.autograd.grad(
        value, at, create_graph=create, retain_graph=True, allow_unused=True, materialize_grads=True
    )


def _flat(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _mean(tasks: Sequence[Params]) -> TaskGradients:
    """Over those whose every number is finite."""
    whole = [all(bool(g.isfinite().all()) for g in own.values()) for own in tasks]
    kept = [own for own, ok in zip(tasks, whole, strict=True) if ok]
    values = {
        name: torch.stack([own[name] for own in kept]).mean(0) if kept else torch.zeros_like(g)
        for name, g in tasks[0].items()
    }
    device = next(iter(values.values())).device
    return TaskGradients(values, torch.tensor(whole, device=device))
