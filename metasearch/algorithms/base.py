"""How it is meta-learned: turn episodes into a meta-gradient, and adapt to a new task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from metasearch.engine.base import Adapted, Engine, InnerLoop, Order, TaskGradients
from metasearch.engine.loop import Loop
from metasearch.engine.memory import tasks_at_once
from metasearch.models.base import Learner, NoiseSource, Params, noise_of_some
from metasearch.tasks.base import Batch, Episodes


@dataclass(frozen=True)
class MetaGradient:
    """What one meta-step of an algorithm found out."""

    values: Params  # gradient of each meta-parameter, averaged over finite tasks
    finite: Tensor  # bool [tasks]: diverged tasks are counted here and summed in nowhere
    losses: dict[str, Tensor]  # player -> [tasks] mean loss on the last images it learned from
    gradients: int  # gradient evaluations spent, one per image and player
    rates: Params = field(default_factory=dict)  # gradient of what the inner loop itself learns

    @staticmethod
    def of(adapted: Adapted, found: TaskGradients, losses: dict[str, Tensor]) -> MetaGradient:
        """Put together what an engine found; `losses` are per image [tasks * n]."""
        by_task = {p: x.detach().reshape(adapted.tasks, -1).mean(1) for p, x in losses.items()}
        return MetaGradient(found.values, found.finite, by_task, adapted.gradients, found.rates)


@dataclass(frozen=True)
class MetaStep:
    """What a meta-step works on, beside its images and noise."""

    engine: Engine
    learner: Learner
    rates: Params = field(default_factory=dict)  # learned ones of the inner loop; empty if fixed
    progress: float = 1.0  # share of the budget that is spent


class MetaAlgorithm(Protocol):
    """A frozen component; its state between steps is the learner and the outer optimiser."""

    @property
    def name(self) -> str:
        """What a search file calls it."""
        ...

    @property
    def inner(self) -> InnerLoop:
        """How a task is adapted, while meta-training and at test time."""
        ...

    @property
    def trains(self) -> bool:
        """False if there is nothing to meta-train (`scratch`)."""
        ...

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """One meta-batch's gradient; leaves the learner as it was."""
        ...


Once = Callable[[MetaStep, Episodes, NoiseSource], MetaGradient]


def meta_batch(
    once: Once,
    step: MetaStep,
    episodes: Episodes,
    noise: NoiseSource,
    *,
    inner: InnerLoop,
    order: Order,
) -> MetaGradient:
    """Run a meta-batch, in parts if it does not fit into the engine's memory."""
    tasks = len(episodes.tasks)
    limit = step.engine.memory_mb * 2**20
    size = tasks_at_once(step.learner, inner, order, episodes.support, tasks, limit)
    if size >= tasks:
        return without_diverged(once, step, episodes, noise)
    parts = []
    for start in range(0, tasks, size):
        some = range(start, min(start + size, tasks))
        part = noise_of_some(noise, tasks, some)
        parts.append(without_diverged(once, step, episodes.select(some), part))
    return _joined(parts)


def _joined(parts: Sequence[MetaGradient]) -> MetaGradient:
    """The mean over the finite tasks of all parts."""
    counts = [int(part.finite.sum()) for part in parts]
    total = max(sum(counts), 1)

    def mean(of: str, name: str) -> Tensor:
        weighted = [n / total * getattr(p, of)[name] for n, p in zip(counts, parts, strict=True)]
        return torch.stack(weighted).sum(0)

    return MetaGradient(
        values={name: mean("values", name) for name in parts[0].values},
        finite=torch.cat([part.finite for part in parts]),
        losses={
            player: torch.cat([part.losses[player] for part in parts]) for player in parts[0].losses
        },
        gradients=sum(part.gradients for part in parts),
        rates={name: mean("rates", name) for name in parts[0].rates},
    )


def without_diverged(
    once: Once, step: MetaStep, episodes: Episodes, noise: NoiseSource
) -> MetaGradient:
    """A meta-step in which a task that diverged changes no number of the others.

    An engine may sum over tasks before it differentiates, and one infinity then spoils the sum. So
    where a task turns out not to be finite, the others run again without it; where no task does
    and the sum is spoiled all the same, the loop engine keeps them apart.
    """
    found = once(step, episodes, noise)
    keep = found.finite.nonzero().flatten().tolist()
    if len(keep) == len(found.finite):
        if all(bool(g.isfinite().all()) for g in (*found.values.values(), *found.rates.values())):
            return found
        return once(replace(step, engine=Loop()), episodes, noise)
    if not keep:
        return replace(found, values=_zeros(found.values), rates=_zeros(found.rates))
    part = noise_of_some(noise, len(found.finite), keep)
    again = without_diverged(once, step, episodes.select(keep), part)
    finite = found.finite.clone()
    finite[keep] = again.finite.to(finite.device)
    return replace(
        again, finite=finite, losses=found.losses, gradients=found.gradients + again.gradients
    )


def _zeros(like: Params) -> Params:
    return {name: torch.zeros_like(g) for name, g in like.items()}


@dataclass(frozen=True)
class Adapter:
    """What adapts to a new task: all that a trial or a bundle stands for."""

    learner: Learner
    inner: InnerLoop  # as it runs on unseen tasks
    rates: Params = field(default_factory=dict)  # what the inner loop learned

    def adapt(self, engine: Engine, support: Batch, tasks: int, noise: NoiseSource) -> Adapted:
        """Run the inner loop on each task's support images; the learner is left as it was."""
        adapted = engine.open(self.learner, tasks, self.inner, rates=self.rates)
        inner_losses(adapted, self.inner, support, noise)
        return adapted

    def still(self) -> Adapter:
        """The same without any step: what there is before adaptation."""
        return replace(self, inner=replace(self.inner, steps=0, test_steps=None))


def inner_losses(
    adapted: Adapted, inner: InnerLoop, images: Batch, noise: NoiseSource
) -> dict[str, Tensor]:
    """Play the inner steps in place; the last per-image loss of each player [tasks * n]."""
    last: dict[str, Tensor] = {}
    for k in range(inner.steps):
        last = inner_step(adapted, inner, images, noise, k)
    return last


def inner_step(
    adapted: Adapted, inner: InnerLoop, images: Batch, noise: NoiseSource, k: int
) -> dict[str, Tensor]:
    """The `k`-th inner step: every turn of the game once; the players' per-image losses."""
    family = adapted.learner.family
    last: dict[str, Tensor] = {}
    if inner.play == "simultaneous":
        last = {
            player: family.loss(player, adapted.nets, images, noise(images, "inner", k, player))
            for player in family.players
        }
        adapted.play(last)
        return last
    for turn, player in enumerate(family.turns):
        loss = family.loss(player, adapted.nets, images, noise(images, "inner", k, turn))
        adapted.step(player, loss)
        last[player] = loss
    return last


def bilevel(
    step: MetaStep,
    inner: InnerLoop,
    episodes: Episodes,
    noise: NoiseSource,
    *,
    order: Order,
    earlier: float = 0.0,
) -> MetaGradient:
    """Adapt on the support, then differentiate the query loss: MAML and all that descends from it.

    `earlier` in [0, 1) is the share of the outer loss that the inner steps before the last get,
    evenly.
    """
    adapted = step.engine.open(
        step.learner, len(episodes.tasks), inner, order=order, rates=step.rates
    )
    before = inner.steps - 1
    shares = [earlier / before] * before + [1 - earlier] if earlier and before > 0 else [1.0]
    parts: list[MetaGradient] = []
    for k in range(max(inner.steps, 1)):
        if inner.steps:
            inner_step(adapted, inner, episodes.support, noise, k)
        if k >= inner.steps - len(shares):
            share = shares[k - max(inner.steps, 1)]
            losses = outer_losses(adapted, episodes.query, noise)
            scaled = {player: share * x for player, x in losses.items()}
            parts.append(MetaGradient.of(adapted, adapted.meta_gradient(scaled, order), losses))
    return _added(parts)


def _added(parts: list[MetaGradient]) -> MetaGradient:
    """The sum of the gradients of one adaptation; a task counts if it stayed finite throughout."""
    last = parts[-1]
    if len(parts) == 1:
        return last

    def total(name: str, of: str) -> Tensor:
        return torch.stack([getattr(part, of)[name] for part in parts]).sum(0)

    return replace(
        last,
        values={name: total(name, "values") for name in last.values},
        rates={name: total(name, "rates") for name in last.rates},
        finite=torch.stack([part.finite for part in parts]).all(0),
    )


def outer_losses(adapted: Adapted, images: Batch, noise: NoiseSource) -> dict[str, Tensor]:
    """Each player's per-image loss [tasks * n] with the weights as they are now."""
    family = adapted.learner.family
    return {
        player: family.loss(player, adapted.nets, images, noise(images, "outer", player))
        for player in family.players
    }


def all_images(episodes: Episodes) -> Batch:
    """Support and query of each task together, [tasks * (shot + query), c, h, w]."""
    n = len(episodes.tasks)
    return {
        domain: torch.cat(
            [x.reshape(n, -1, *x.shape[1:]) for x in (s, episodes.query[domain])], 1
        ).flatten(0, 1)
        for domain, s in episodes.support.items()
    }
