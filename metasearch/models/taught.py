"""A family whose losses draw it to what its peers make of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metasearch.models.base import EncoderModel, Nets, Noise
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape

PEERS = "peers"  # what they make of the image of a row, in [-1, 1]
SHARPEST = 1e-6  # the least chance of ink, and of none, in a divergence


@dataclass(frozen=True)
class Taught:
    """`family`, each of whose losses has ``kappa KL(own pixels || pixels of "peers")`` added.

    For meta-training alone: whoever adapts to an unseen task has no peers.
    """

    family: EncoderModel
    kappa: float

    @property
    def name(self) -> str:
        """That of the family."""
        return self.family.name

    @property
    def domains(self) -> tuple[str, ...]:
        """Also what peers make of each image."""
        return (*self.family.domains, PEERS)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Those of the family."""
        return self.family.players

    @property
    def turns(self) -> tuple[str, ...]:
        """Those of the family."""
        return self.family.turns

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """The nets of the family.

        Raises:
            ConfigError: the shape does not suit it.
        """
        return self.family.build(shape)

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """The noise of the family."""
        return self.family.draw(like, rng, samples=samples)

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The family's, and `kappa` times how far its pixels are from those of its peers."""
        own = self.family.loss(player, nets, batch, noise)
        (made,) = self.family.reconstruct(nets, batch).values()
        return own + self.kappa * divergence(made, batch[PEERS])

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Images of the family."""
        return self.family.generate(nets, given, noise)


def divergence(made: Tensor, target: Tensor) -> Tensor:
    """KL(made || target) of Bernoulli pixels with means in [-1, 1]: nats of each image, [rows]."""
    p, q = (x.flatten(1).add(1).mul(0.5).clamp(SHARPEST, 1 - SHARPEST) for x in (made, target))
    return (p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))).sum(1)
