"""Adapt, judge, differentiate: MAML and all that descends from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from metasearch.algorithms.base import MetaGradient, MetaStep, inner_step, outer_losses, seen_by
from metasearch.engine.base import Adapted, InnerLoop, Order
from metasearch.models.base import Learner, NoiseSource, example, rows
from metasearch.models.conditions import rows_to_draw
from metasearch.models.discrepancy import image_mmd
from metasearch.rng import Stream
from metasearch.tasks.base import Episodes, image_domains

Outer = Literal["player_losses", "query_critic", "mmd"]


@dataclass(frozen=True)
class Outcome:
    """What the players are judged by after adaptation."""

    losses: dict[str, Tensor]  # player -> per-image loss [tasks * n]
    gradients: int = 0  # gradient evaluations that judging took, beside those of `losses`


Judge = Callable[[MetaStep, Adapted, Episodes, NoiseSource], Outcome]


@dataclass(frozen=True)
class Bilevel:
    """Adapt on the support, then differentiate what a judge says of the query."""

    inner: InnerLoop
    judge: Judge
    order: Order
    earlier: float = 0.0  # share of the outer loss that inner steps before the last get, evenly
    cross: bool = False  # derivatives run from player to player, see `seen_by`

    def __call__(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """The mean over finite tasks."""
        inner, tasks = self.inner, len(episodes.tasks)
        adapted = step.engine.open(step.learner, tasks, inner, order=self.order, rates=step.rates)
        shares = self._shares()
        parts: list[MetaGradient] = []
        judging = 0
        for k in range(max(inner.steps, 1)):
            if inner.steps:
                inner_step(adapted, inner, episodes.support, noise, k, cross=self.cross)
            if k >= inner.steps - len(shares):
                share = shares[k - max(inner.steps, 1)]
                found = self.judge(step, adapted, episodes, noise)
                judging += found.gradients
                scaled = step.weighed({p: share * x for p, x in found.losses.items()})
                meta = adapted.meta_gradient(scaled, self.order)
                parts.append(MetaGradient.of(step, adapted, meta, found.losses))
        whole = _added(parts)
        return replace(whole, gradients=whole.gradients + judging)

    def _shares(self) -> list[float]:
        before = self.inner.steps - 1
        if not self.earlier or before < 1:
            return [1.0]
        return [self.earlier / before] * before + [1 - self.earlier]


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


def by_player_losses(*, cross: bool = False) -> Judge:
    """Each player is judged by its own loss on the query."""

    def judge(_: MetaStep, adapted: Adapted, episodes: Episodes, noise: NoiseSource) -> Outcome:
        return Outcome(outer_losses(adapted, episodes.query, noise, cross=cross))

    return judge


def by_query_critic(inner: InnerLoop) -> Judge:
    """Who draws is judged by critics that saw the query; the critics by their own losses.

    In the place of a critic that adapted to the support, and so may know no more of a task than
    the images it saw, stands a second one: the same start, adapted to the query against the images
    that are now drawn. It judges and is forgotten.

    Source: Liang, Liu & Liu, "DAWSON: A Domain Adaptive Few Shot Generation Framework", 2020,
    section 4. Differs: each player's gradient stays in its own weights, and penalties are taken at
    the adapted weights; the published code does neither.
    """

    def judge(step: MetaStep, adapted: Adapted, episodes: Episodes, noise: NoiseSource) -> Outcome:
        family, query = adapted.learner.family, episodes.query
        drawing = drawing_players(adapted.learner)
        losses = outer_losses(adapted, query, noise)
        judges = step.engine.open(step.learner, adapted.tasks, inner, rates=step.rates)
        theirs = [net for p, own in family.players.items() if p not in drawing for net in own]
        nets = {**adapted.nets, **{net: judges.nets[net] for net in theirs}}
        for k in range(inner.steps):
            for turn, player in enumerate(family.turns):
                if player not in drawing:
                    seen = noise(query, "judge", k, turn)
                    loss = family.loss(player, seen_by(player, family, nets), query, seen)
                    judges.step(player, loss)
        for player in drawing:
            seen = noise(query, "outer", player)
            losses[player] = family.loss(player, seen_by(player, family, nets), query, seen)
        return Outcome(losses, judges.gradients)

    return judge


def by_discrepancy(*, cross: bool = False) -> Judge:
    """Who draws is judged by the unbiased MMD^2 of as many images to the query, which is no game.

    With `cross` all players are, also those that only teach to draw.

    Source: Dziugaite et al., "Training Generative Neural Networks via Maximum Mean Discrepancy
    Optimization", 2015, eq. 6, for the loss; that it is the outer one, and its fixed space of
    comparison (`fixed_features`), are ours.
    """

    def judge(_: MetaStep, adapted: Adapted, episodes: Episodes, noise: NoiseSource) -> Outcome:
        family, query, tasks = adapted.learner.family, episodes.query, adapted.tasks
        judged = frozenset(family.players) if cross else drawing_players(adapted.learner)
        losses = {p: x for p, x in outer_losses(adapted, query, noise).items() if p not in judged}
        n = rows(query) // tasks
        given = rows_to_draw(family, episodes.support, tasks, n)
        drawn = family.generate(adapted.nets, given, noise(given, "outer", "images"))
        apart = torch.stack(
            [image_mmd(drawn[d], query[d], tasks) for d in image_domains(drawn)]
        ).sum(0)
        return Outcome(losses | dict.fromkeys(judged, apart.repeat_interleave(n)))

    return judge


def drawing_players(learner: Learner) -> frozenset[str]:
    """The players of whose nets images are made; the others only teach them."""
    family, used = learner.family, set()

    def noting(name: str) -> Callable[..., Tensor]:
        def call(*inputs: Tensor) -> Tensor:
            used.add(name)
            found: Tensor = learner.nets[name](*inputs)
            return found

        return call

    weight = next(iter(learner.parameters().values()))
    one = example(family.domains, learner.shape, 1, Stream(0).at("one"), dtype=weight.dtype)
    given = {d: x.to(weight.device) for d, x in one.items()}
    with torch.no_grad():
        nets = {name: noting(name) for name in learner.nets}
        family.generate(nets, given, family.draw(given, Stream(0).at("one")))
    return frozenset(p for p, own in family.players.items() if used.intersection(own))
