"""Encoders and decoders that families are built from: images <-> vectors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from metasearch.errors import ConfigError
from metasearch.models.code import Code
from metasearch.registry import Table, at_least, at_most, component
from metasearch.tasks.base import Shape

Norm = Literal["none", "group", "layer", "instance"]
LAYERS = 100  # at most, of one kind after another: no file may ask for more than can be built
Doubling = Literal["transposed", "nearest"]
Activation = Literal["silu", "relu", "leaky_relu", "gelu", "prelu"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "gelu": nn.GELU,
    "prelu": nn.PReLU,
}


@component
class Conv:
    """Strided 4x4 convolutions that halve the side as long as it goes, then one linear layer.

    The decoder is the encoder's mirror image. Sides of 16, 28, 32 and 64 end at 8, 7, 8 and 8, or
    at 4, 7, 4 and 4 with ``smallest: 4``; any number of channels will do.
    """

    name: Literal["conv"] = "conv"
    width: int = 16  # channels of the first layer; doubled at each halving
    depth: int = 0  # 3x3 layers with a shortcut at each side below that of the image
    smallest: int = 8  # side from which on nothing is halved
    norm: Norm = "group"
    activation: Activation = "silu"
    upsample: Doubling = "transposed"  # of the decoder
    attention: bool = False  # between the places of the smallest map
    code: int = 0  # numbers that the decoder hears beside its vector: see `Code`

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, width=1, depth=0, smallest=2, code=0)
        at_most(self, depth=LAYERS)

    def encoder(self, shape: Shape, out: int) -> nn.Module:
        """Images [n, c, h, w] to vectors [n, out].

        Raises:
            ConfigError: the side cannot be halved down to `smallest`, or to 8.
        """
        channels, sides = self._plan(shape)
        layers: list[nn.Module] = []
        for a, b in pairwise(channels):
            layers += [nn.Conv2d(a, b, 4, 2, 1), *self._then(b), *self._blocks(b)]
        layers += self._attends(channels[-1])
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * sides[-1] ** 2, out))

    def decoder(self, latent: int, shape: Shape) -> nn.Module:
        """Vectors [n, latent] to unbounded images [n, c, h, w].

        Raises:
            ConfigError: the side cannot be halved down to `smallest`, or to 8.
        """
        channels, sides = self._plan(shape)
        top, side = channels[-1], sides[-1]
        layers: list[nn.Module] = [
            *_hears(self.code),
            nn.Linear(latent + self.code, top * side**2),
            nn.Unflatten(1, (top, side, side)),
            *self._then(top),
            *self._attends(top),
            *self._blocks(top),
        ]
        for a, b in pairwise(reversed(channels[1:])):
            layers += [*doubled(self.upsample, a, b), *self._then(b), *self._blocks(b)]
        return nn.Sequential(*layers, *doubled(self.upsample, channels[1], shape[0]))

    def _then(self, channels: int) -> list[nn.Module]:
        return [normalise(self.norm, channels), ACTIVATIONS[self.activation]()]

    def _blocks(self, channels: int) -> list[nn.Module]:
        return [
            Shortcut(nn.Conv2d(channels, channels, 3, 1, 1), *self._then(channels))
            for _ in range(self.depth)
        ]

    def _attends(self, channels: int) -> list[nn.Module]:
        return [Attention(channels)] if self.attention else []

    def _plan(self, shape: Shape) -> tuple[list[int], list[int]]:
        """Channels and sides from the image inwards."""
        side = shape[1]
        channels, sides = [shape[0]], [side]
        while side > self.smallest and side % 2 == 0:
            side //= 2
            channels.append(self.width * 2 ** (len(channels) - 1))
            sides.append(side)
        if shape[1] != shape[2] or side > max(8, self.smallest) or len(channels) == 1:
            raise ConfigError(
                f"net 'conv' halves a square image until its side is at most {self.smallest}; "
                f"{shape[1]}x{shape[2]} does not come out even. Use a size such as 16, 28, 32 or "
                "64, or the net 'mlp'."
            )
        return channels, sides


@component
class Mlp:
    """Fully connected layers of one width: the cheapest net, and the fastest to adapt."""

    name: Literal["mlp"] = "mlp"
    hidden: int = 256
    depth: int = 1  # hidden layers
    norm: Literal["none", "group", "layer"] = "none"
    activation: Activation = "silu"
    code: int = 0  # numbers that the decoder hears beside its vector: see `Code`

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, hidden=1, depth=0, code=0)
        at_most(self, depth=LAYERS)

    def encoder(self, shape: Shape, out: int) -> nn.Module:
        """Images [n, c, h, w] to vectors [n, out]."""
        return nn.Sequential(nn.Flatten(), *self._stack(shape[0] * shape[1] * shape[2], out))

    def decoder(self, latent: int, shape: Shape) -> nn.Module:
        """Vectors [n, latent] to unbounded images [n, c, h, w]."""
        pixels = shape[0] * shape[1] * shape[2]
        layers = [*_hears(self.code), *self._stack(latent + self.code, pixels)]
        return nn.Sequential(*layers, nn.Unflatten(1, shape))

    def _stack(self, first: int, last: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for a, b in pairwise([first] + [self.hidden] * self.depth):
            layers += [nn.Linear(a, b), normalise(self.norm, b), ACTIVATIONS[self.activation]()]
        return [*layers, nn.Linear(self.hidden if self.depth else first, last)]


def normalise(kind: Norm, channels: int) -> nn.Module:
    """A normalisation that sees one image at a time; batch statistics would mix tasks.

    `layer` is over all channels and places, `instance` over the places of one channel.
    """
    if kind == "none":
        return nn.Identity()
    few = next(g for g in (8, 4, 2, 1) if channels % g == 0)
    groups = {"layer": 1, "instance": channels, "group": few}[kind]
    return nn.GroupNorm(groups, channels)


def doubled(kind: Doubling, a: int, b: int) -> list[nn.Module]:
    """Layers from maps [n, a, h, w] to [n, b, 2 h, 2 w].

    `nearest` convolves what was made larger, so that no place is written more often than others.
    """
    if kind == "transposed":
        return [nn.ConvTranspose2d(a, b, 4, 2, 1)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1)]


class Shortcut(nn.Sequential):
    """Layers whose result is added to what they were given."""

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to the same shape."""
        given: Tensor = x
        for layer in self:
            x = layer(x)
        return given + x


class Attention(nn.Module):
    """Each place of a map looks at all others; what it finds is added to what it was.

    Source: Zhang et al., "Self-Attention Generative Adversarial Networks", 2019, eq. 1-3. Differs:
    scores are divided by the root of their length, and the last layer starts at zero in the place
    of a factor that does, so that no weight is outside of a layer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = max(channels // 4, 1)
        self.query, self.key = nn.Conv2d(channels, few, 1), nn.Conv2d(channels, few, 1)
        self.value, self.out = nn.Conv2d(channels, few, 1), nn.Conv2d(few, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to the same shape."""
        query, key, value = (net(x).flatten(2) for net in (self.query, self.key, self.value))
        scores = torch.softmax(query.mT @ key / query.shape[1] ** 0.5, -1)  # [n, places, places]
        found: Tensor = self.out((value @ scores.mT).unflatten(2, x.shape[2:]))
        return x + found


def _hears(code: int) -> list[nn.Module]:
    return [Code(code)] if code else []


class Squeeze(nn.Module):
    """[n, 1] to [n]: a critic's single logit per image."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop the last dimension."""
        return x.squeeze(-1)


NETS = Table("net", {"conv": Conv, "mlp": Mlp})
