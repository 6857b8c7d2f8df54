"""How it is meta-learned: turn episodes into a meta-gradient, and adapt to a new task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from metasearch.engine.base import Adapted, Engine, InnerLoop, Order, TaskGradients
from metasearch.engine.loop import Loop
from metasearch.engine.memory import tasks_at_once
from metasearch.models.base import (
    GenerativeModel,
    Learner,
    Net,
    Nets,
    NoiseSource,
    Params,
    noise_of_some,
)
from metasearch.models.conditions import conditioned, conditioned_support
from metasearch.tasks.base import Batch, Episodes


@dataclass(frozen=True)
class MetaGradient:
    """What one meta-step of an algorithm found out."""

    values: Params  # gradient of each meta-parameter, averaged over finite tasks
    finite: Tensor  # bool [tasks]: diverged tasks are counted here and summed in nowhere
    losses: dict[str, Tensor]  # player -> [tasks] mean loss on the last images it learned from
    gradients: int  # gradient evaluations spent, one per image and player
    rates: Params = field(default_factory=dict)  # gradient of what the inner loop itself learns
    sketch: Tensor | None = None  # [tasks, d] where each task's weights went, if asked for

    @staticmethod
    def of(
        step: MetaStep, adapted: Adapted, found: TaskGradients, losses: dict[str, Tensor]
    ) -> MetaGradient:
        """Put together what an engine found; `losses` are per image [tasks * n]."""
        by_task = {p: x.detach().reshape(adapted.tasks, -1).mean(1) for p, x in losses.items()}
        sketch = adapted.sketch(step.sketch) if step.sketch else None
        return MetaGradient(
            found.values, found.finite, by_task, adapted.gradients, found.rates, sketch
        )


@dataclass(frozen=True)
class MetaStep:
    """What a meta-step works on, beside its images and noise."""

    engine: Engine
    learner: Learner
    rates: Params = field(default_factory=dict)  # learned ones of the inner loop; empty if fixed
    progress: float = 1.0  # share of the budget that is spent
    weights: Tensor | None = None  # [tasks] how much each task counts, with mean 1
    sketch: int = 0  # numbers to sketch each task's displacement in; 0 for none

    def of_some(self, tasks: Sequence[int]) -> MetaStep:
        """The step of a part of the tasks, which is a meta-batch of its own."""
        if self.weights is None:
            return self
        return replace(self, weights=self.weights[list(tasks)])

    def weighed(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Per-image losses [tasks * n], each task's times its weight."""
        if self.weights is None:
            return losses
        n = len(self.weights)
        return {p: x * self.weights.repeat_interleave(len(x) // n) for p, x in losses.items()}


Reads = Literal["query", "displacement", ""]


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

    @property
    def reads(self) -> Reads:
        """What its gradient is, if it can be read off the end of an inner loop on the support.

        "query": the gradient of the query loss there; "displacement": the way there; "": neither.
        """
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
    episodes = conditioned(step.learner.family, episodes, progress=step.progress)
    limit = step.engine.memory_mb * 2**20
    size = tasks_at_once(step.learner, inner, order, episodes.support, tasks, limit)
    if size >= tasks:
        return without_diverged(once, step, episodes, noise)
    parts = []
    for start in range(0, tasks, size):
        some = range(start, min(start + size, tasks))
        part = noise_of_some(noise, tasks, some)
        parts.append(without_diverged(once, step.of_some(some), episodes.select(some), part))
    return joined(parts)


def joined(parts: Sequence[MetaGradient]) -> MetaGradient:
    """The mean over the finite tasks of all parts."""
    counts = [int(part.finite.sum()) for part in parts]
    total = max(sum(counts), 1)

    def mean(of: str, name: str) -> Tensor:
        weighted = [n / total * getattr(p, of)[name] for n, p in zip(counts, parts, strict=True)]
        return torch.stack(weighted).sum(0)

    return MetaGradient(
        values={name: mean("values", name) for name in parts[0].values},
        finite=torch.cat([part.finite for part in parts]),
        losses={p: torch.cat([part.losses[p] for part in parts]) for p in parts[0].losses},
        gradients=sum(part.gradients for part in parts),
        rates={name: mean("rates", name) for name in parts[0].rates},
        sketch=torch.cat([part.sketch for part in parts if part.sketch is not None])
        if parts[0].sketch is not None
        else None,
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
        sound = [g.isfinite().all() for of in (found.values, found.rates) for g in of.values()]
        if bool(torch.stack(sound).all()):  # asks a device once
            return found
        return once(replace(step, engine=Loop()), episodes, noise)
    if not keep:
        return replace(found, values=_zeros(found.values), rates=_zeros(found.rates))
    part = noise_of_some(noise, len(found.finite), keep)
    again = without_diverged(once, step.of_some(keep), episodes.select(keep), part)
    finite = found.finite.clone()
    finite[keep] = again.finite.to(finite.device)
    return replace(
        again,
        finite=finite,
        losses=found.losses,
        gradients=found.gradients + again.gradients,
        sketch=found.sketch,
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
        support = conditioned_support(self.learner.family, support, tasks)
        inner_losses(adapted, self.inner, support, noise)
        return adapted

    def still(self) -> Adapter:
        """The same without any step: what there is before adaptation."""
        return replace(self, inner=replace(self.inner, steps=0, test_steps=None))


def seen_by(player: str, family: GenerativeModel, nets: Nets) -> Nets:
    """The nets as a player sees them: what others make without its doing is a constant.

    A discriminator meets a generator's images as constants, so its inner steps carry no path into
    the generator, and no derivative runs from one player's weights through the other's steps. What
    others make of the player's own images, such as their logits, is differentiated.
    """
    own = family.players[player]
    return {name: net if name in own else _constant(net) for name, net in nets.items()}


def _constant(net: Net) -> Net:
    def call(*inputs: Tensor) -> Tensor:
        if any(x.requires_grad for x in inputs):
            return net(*inputs)
        with torch.no_grad():
            return net(*inputs)

    return call


def inner_losses(
    adapted: Adapted, inner: InnerLoop, images: Batch, noise: NoiseSource
) -> dict[str, Tensor]:
    """Play the inner steps in place; the last per-image loss of each player [tasks * n]."""
    last: dict[str, Tensor] = {}
    for k in range(inner.steps):
        last = inner_step(adapted, inner, images, noise, k)
    return last


def inner_step(
    adapted: Adapted,
    inner: InnerLoop,
    images: Batch,
    noise: NoiseSource,
    k: int,
    *,
    cross: bool = False,
) -> dict[str, Tensor]:
    """The `k`-th inner step: every turn of the game once; the players' per-image losses.

    With `cross` a player's loss may be differentiated in what the others made.
    """
    family = adapted.learner.family
    last: dict[str, Tensor] = {}

    def loss_of(player: str, turn: int | str) -> Tensor:
        nets = adapted.nets if cross else seen_by(player, family, adapted.nets)
        return family.loss(player, nets, images, noise(images, "inner", k, turn))

    if inner.play == "simultaneous":
        last = {player: loss_of(player, player) for player in family.players}
        adapted.play(last)
        return last
    for turn, player in enumerate(family.turns):
        loss = loss_of(player, turn)
        adapted.step(player, loss)
        last[player] = loss
    return last


def outer_losses(
    adapted: Adapted, images: Batch, noise: NoiseSource, *, cross: bool = False
) -> dict[str, Tensor]:
    """Each player's per-image loss [tasks * n] with the weights as they are now."""
    family, nets = adapted.learner.family, adapted.nets
    return {
        player: family.loss(
            player,
            nets if cross else seen_by(player, family, nets),
            images,
            noise(images, "outer", player),
        )
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
