"""How it is meta-learned: turn episodes into a meta-gradient, and adapt to a new task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from metasearch.engine.base import Adapted, Engine, InnerLoop, Order, TaskGradients
from metasearch.engine.loop import Loop
from metasearch.models.base import Learner, NoiseSource, Params, noise_of_some
from metasearch.tasks.base import Batch, Episodes


@dataclass(frozen=True)
class MetaGradient:
    """What one meta-step of an algorithm found out."""

    values: Params  # gradient of each meta-parameter, averaged over finite tasks
    finite: Tensor  # bool [tasks]: diverged tasks are counted here and summed in nowhere
    losses: dict[str, Tensor]  # player -> [tasks] mean loss on the last images it learned from
    gradients: int  # gradient evaluations spent, one per image and player

    @staticmethod
    def of(adapted: Adapted, found: TaskGradients, losses: dict[str, Tensor]) -> MetaGradient:
        """Put together what an engine found; `losses` are per image [tasks * n]."""
        by_task = {p: x.detach().reshape(adapted.tasks, -1).mean(1) for p, x in losses.items()}
        return MetaGradient(found.values, found.finite, by_task, adapted.gradients)


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

    def meta_gradient(
        self, engine: Engine, learner: Learner, episodes: Episodes, noise: NoiseSource
    ) -> MetaGradient:
        """One meta-batch's gradient; leaves the learner as it was."""
        ...


Once = Callable[[Engine, Learner, Episodes, NoiseSource], MetaGradient]


def without_diverged(
    once: Once, engine: Engine, learner: Learner, episodes: Episodes, noise: NoiseSource
) -> MetaGradient:
    """A meta-step in which a task that diverged changes no number of the others.

    An engine may sum over tasks before it differentiates, and one infinity then spoils the sum. So
    where a task turns out not to be finite, the others run again without it; where no task does
    and the sum is spoiled all the same, the loop engine keeps them apart.
    """
    found = once(engine, learner, episodes, noise)
    keep = found.finite.nonzero().flatten().tolist()
    if len(keep) == len(found.finite):
        if all(bool(g.isfinite().all()) for g in found.values.values()):
            return found
        return once(Loop(), learner, episodes, noise)
    if not keep:
        return replace(found, values={k: torch.zeros_like(g) for k, g in found.values.items()})
    part = noise_of_some(noise, len(found.finite), keep)
    again = without_diverged(once, engine, learner, episodes.select(keep), part)
    finite = found.finite.clone()
    finite[keep] = again.finite.to(finite.device)
    return replace(
        again, finite=finite, losses=found.losses, gradients=found.gradients + again.gradients
    )


def adapt(
    engine: Engine,
    learner: Learner,
    inner: InnerLoop,
    support: Batch,
    tasks: int,
    noise: NoiseSource,
    *,
    order: Order = 1,
) -> Adapted:
    """Run the inner loop on each task's support images: the one way a learner is adapted."""
    adapted = engine.open(learner, tasks, inner, order=order)
    inner_losses(adapted, inner, support, noise)
    return adapted


def inner_losses(
    adapted: Adapted, inner: InnerLoop, images: Batch, noise: NoiseSource
) -> dict[str, Tensor]:
    """Play the inner steps in place; the last per-image loss of each player [tasks * n]."""
    family, last = adapted.learner.family, {}
    for k in range(inner.steps):
        if inner.play == "simultaneous":
            last = {
                player: family.loss(player, adapted.nets, images, noise(images, "inner", k, player))
                for player in family.players
            }
            adapted.play(last)
            continue
        for turn, player in enumerate(family.turns):
            loss = family.loss(player, adapted.nets, images, noise(images, "inner", k, turn))
            adapted.step(player, loss)
            last[player] = loss
    return last


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
