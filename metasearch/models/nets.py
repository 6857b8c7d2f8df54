"""Small encoders and decoders that families are built from: images <-> vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from metasearch.errors import ConfigError
from metasearch.registry import Table, at_least, component
from metasearch.tasks.base import Shape

Norm = Literal["none", "group", "layer"]


@component
class Conv:
    """Strided 4x4 convolutions that halve the side until it is at most 8, then one linear layer."""

    name: Literal["conv"] = "conv"
    width: int = 16  # channels of the first layer; doubled at each halving
    norm: Norm = "group"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, width=1)

    def encoder(self, shape: Shape, out: int) -> nn.Module:
        """Images [n, c, h, w] to vectors [n, out].

        Raises:
            ConfigError: the side cannot be halved down to 8 or less.
        """
        channels, sides = self._plan(shape)
        layers: list[nn.Module] = []
        for a, b in pairwise(channels):
            layers += [nn.Conv2d(a, b, 4, 2, 1), normalise(self.norm, b), nn.SiLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * sides[-1] ** 2, out))

    def decoder(self, latent: int, shape: Shape) -> nn.Module:
        """Vectors [n, latent] to unbounded images [n, c, h, w].

        Raises:
            ConfigError: the side cannot be halved down to 8 or less.
        """
        channels, sides = self._plan(shape)
        top, side = channels[-1], sides[-1]
        layers: list[nn.Module] = [
            nn.Linear(latent, top * side**2),
            nn.Unflatten(1, (top, side, side)),
            normalise(self.norm, top),
            nn.SiLU(),
        ]
        for a, b in pairwise(reversed(channels[1:])):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1), normalise(self.norm, b), nn.SiLU()]
        return nn.Sequential(*layers, nn.ConvTranspose2d(channels[1], shape[0], 4, 2, 1))

    def _plan(self, shape: Shape) -> tuple[list[int], list[int]]:
        """Channels and sides from the image inwards."""
        side = shape[1]
        channels, sides = [shape[0]], [side]
        while side > 8 and side % 2 == 0:
            side //= 2
            channels.append(self.width * 2 ** (len(channels) - 1))
            sides.append(side)
        if shape[1] != shape[2] or side > 8 or len(channels) == 1:
            raise ConfigError(
                f"net 'conv' halves a square image until its side is at most 8; {shape[1]}x"
                f"{shape[2]} does not come out even. Use a size such as 16, 28, 32 or 64, or "
                "the net 'mlp'."
            )
        return channels, sides


@component
class Mlp:
    """Fully connected layers of one width: the cheapest net, and the fastest to adapt."""

    name: Literal["mlp"] = "mlp"
    hidden: int = 256
    depth: int = 1  # hidden layers
    norm: Norm = "none"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, hidden=1, depth=0)

    def encoder(self, shape: Shape, out: int) -> nn.Module:
        """Images [n, c, h, w] to vectors [n, out]."""
        return nn.Sequential(nn.Flatten(), *self._stack(shape[0] * shape[1] * shape[2], out))

    def decoder(self, latent: int, shape: Shape) -> nn.Module:
        """Vectors [n, latent] to unbounded images [n, c, h, w]."""
        pixels = shape[0] * shape[1] * shape[2]
        return nn.Sequential(*self._stack(latent, pixels), nn.Unflatten(1, shape))

    def _stack(self, first: int, last: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for a, b in pairwise([first] + [self.hidden] * self.depth):
            layers += [nn.Linear(a, b), normalise(self.norm, b), nn.SiLU()]
        return [*layers, nn.Linear(self.hidden if self.depth else first, last)]


def normalise(kind: Norm, channels: int) -> nn.Module:
    """A normalisation that sees one image at a time; batch statistics would mix tasks."""
    if kind == "none":
        return nn.Identity()
    groups = 1 if kind == "layer" else next(g for g in (8, 4, 2, 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


class Squeeze(nn.Module):
    """[n, 1] to [n]: a critic's single logit per image."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop the last dimension."""
        return x.squeeze(-1)


NETS = Table("net", {"conv": Conv, "mlp": Mlp})
