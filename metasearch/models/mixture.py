"""Several families as one: each image comes from one of them, by weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from metasearch.models.base import (
    GenerativeModel,
    LikelihoodModel,
    Nets,
    Noise,
    TranslatorModel,
    rows,
)
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape

T = TypeVar("T")


@dataclass(frozen=True)
class Mixture:
    """What cooperating models stand for together. Not searched for and not trained as one.

    The nets, players and noise of part `i` have names that begin with ``"<i>."``. Every part gets
    the noise that it would get alone, so a mixture with all weight on one part is that part.
    """

    parts: tuple[GenerativeModel, ...]
    weights: tuple[float, ...]  # they sum to 1

    @property
    def name(self) -> str:
        """What it is called where a family is named."""
        return "mixture"

    @property
    def domains(self) -> tuple[str, ...]:
        """What any part needs."""
        return tuple(dict.fromkeys(d for part in self.parts for d in part.domains))

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Those of all parts."""
        return {
            f"{i}.{player}": tuple(f"{i}.{net}" for net in nets)
            for i, part in enumerate(self.parts)
            for player, nets in part.players.items()
        }

    @property
    def turns(self) -> tuple[str, ...]:
        """Those of all parts, one after another."""
        return tuple(f"{i}.{player}" for i, part in enumerate(self.parts) for player in part.turns)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """The nets of all parts.

        Raises:
            ConfigError: the shape does not suit a part.
        """
        return {
            f"{i}.{net}": module
            for i, part in enumerate(self.parts)
            for net, module in part.build(shape).items()
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """The noise of each part, and `share` [rows], uniform: which part draws an image."""
        device = next(iter(like.values())).device
        make = rng.at("share").torch(device)
        share = torch.rand(rows(like), generator=make, device=device, dtype=torch.float64)
        own = {
            f"{i}.{key}": x
            for i, part in enumerate(self.parts)
            for key, x in part.draw(like, rng, samples=samples).items()
        }
        return {"share": share, **own}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The loss of one player of one part."""
        i, own = player.split(".", 1)
        part = int(i)
        return self.parts[part].loss(own, part_of(nets, part), batch, part_of(noise, part))

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Each row from the part whose interval of weights holds its `share`."""
        edges = torch.tensor(self.weights, dtype=torch.float64).cumsum(0)[:-1]
        which = torch.bucketize(noise["share"], edges.to(noise["share"].device), right=True)
        drawn = [
            part.generate(part_of(nets, i), given, part_of(noise, i))
            for i, part in enumerate(self.parts)
        ]
        return {
            domain: torch.stack([part[domain] for part in drawn], 1)[
                torch.arange(len(which), device=which.device), which
            ]
            for domain in drawn[0]
        }


@dataclass(frozen=True)
class LikelihoodMixture(Mixture):
    """A mixture whose parts all know probabilities, so that it does too."""

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """``log sum_i w_i p_i(x)`` of each image, in nats."""
        each = []
        for i, (part, weight) in enumerate(zip(self.parts, self.weights, strict=True)):
            assert isinstance(part, LikelihoodModel), "mixture_of sees to it"
            found = part.log_likelihood(part_of(nets, i), batch, part_of(noise, i))
            each.append(found + (math.log(weight) if weight > 0 else -math.inf))
        return torch.stack(each).logsumexp(0)


@dataclass(frozen=True)
class TranslatorMixture(Mixture):
    """A mixture whose parts all translate, so that it does too."""

    def translate(self, nets: Nets, batch: Batch) -> Batch:
        """The mean of what the parts make of each image, by their weights."""
        made: dict[str, Tensor] = {}
        for i, (part, weight) in enumerate(zip(self.parts, self.weights, strict=True)):
            assert isinstance(part, TranslatorModel), "mixture_of sees to it"
            for domain, images in part.translate(part_of(nets, i), batch).items():
                made[domain] = made.get(domain, 0) + weight * images
        return made


def mixture_of(parts: Sequence[GenerativeModel], weights: Sequence[float]) -> Mixture:
    """The mixture, which knows likelihoods or translates if every part does."""
    kind = Mixture
    if all(isinstance(part, LikelihoodModel) for part in parts):
        kind = LikelihoodMixture
    elif all(isinstance(part, TranslatorModel) for part in parts):
        kind = TranslatorMixture
    return kind(tuple(parts), tuple(weights))


def part_of(named: Mapping[str, T], part: int) -> dict[str, T]:
    """What belongs to a part, under the names that the part knows."""
    prefix = f"{part}."
    return {k.removeprefix(prefix): x for k, x in named.items() if k.startswith(prefix)}
