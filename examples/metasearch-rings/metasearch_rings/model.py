"""A model: it learns to repair images, and draws by repairing noise again and again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

import metasearch
from metasearch.models.base import Nets, Noise, rows
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@metasearch.component
class Repairer:
    """Repairs images under Gaussian noise; a sample is what repairing makes of noise.

    Source: Bengio et al., "Generalized Denoising Auto-Encoders as Generative Models", 2013.
    """

    name: Literal["repairer"] = "repairer"
    code: int = 16  # numbers between encoder and decoder
    hidden: int = 32  # units of a hidden layer
    level: float = 0.5  # standard deviation of the noise; images lie in [-1, 1]
    rounds: int = 4  # of spoiling and repairing, for a sample

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind."""
        return ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Encoder and decoder descend one loss together."""
        return {"repairer": ("encoder", "decoder")}

    @property
    def turns(self) -> tuple[str, ...]:
        """One move an inner step."""
        return ("repairer",)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Fresh nets for images of this shape."""
        net = Mlp(hidden=self.hidden)
        return {"encoder": net.encoder(shape, self.code), "decoder": net.decoder(self.code, shape)}

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`spoil` [rows, rounds, c, h, w]: a loss uses the first round, a sample all of them."""
        x = like["x"]
        size = (rows(like), self.rounds, *x.shape[1:])
        make = rng.torch(x.device)
        return {"spoil": torch.randn(size, generator=make, device=x.device, dtype=x.dtype)}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """Squared error of the repaired image, summed over its pixels."""
        spoiled = batch["x"] + self.level * noise["spoil"][:, 0]
        return (repair(nets, spoiled) - batch["x"]).square().flatten(1).sum(1)

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """From nothing, spoil and repair `rounds` times."""
        x = torch.zeros_like(noise["spoil"][:, 0])
        for spoil in noise["spoil"].unbind(1):
            x = repair(nets, x + self.level * spoil)
        return {"x": x}


def repair(nets: Nets, spoiled: Tensor) -> Tensor:
    """The image in [-1, 1] that the nets see behind the noise."""
    return torch.tanh(nets["decoder"](nets["encoder"](spoiled)))
