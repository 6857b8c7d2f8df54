"""Nets that turn an image into one of another domain, and critics that look at its places."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from metasearch.errors import ConfigError
from metasearch.models.nets import (
    ACTIVATIONS,
    LAYERS,
    Activation,
    Attention,
    Doubling,
    Norm,
    Shortcut,
    doubled,
    normalise,
)
from metasearch.registry import at_least, at_most, component
from metasearch.tasks.base import Shape


@component
class Resnet:
    """Halvings, residual blocks, doublings: images to images, from the identity on.

    What is learned is a change: where light comes from (`moves`), and what is painted over it.
    The last layer starts at zero, so a fresh translator leaves an image as it is. Every place is
    told where it lies, so that a change may differ between top and bottom.

    Source: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
    Networks", 2017, section 4, for the order of layers; moving light as in Zhou et al., "View
    Synthesis by Appearance Flow", 2016. Differs: small; the image is beside all of it.
    """

    width: int = 16  # channels after the first halving; doubled at each further one
    halvings: int = 1  # of the side
    depth: int = 2  # residual blocks at the smallest side
    norm: Norm = "none"
    activation: Activation = "silu"
    upsample: Doubling = "transposed"
    attention: bool = False  # between the places of the smallest map
    skip: bool = True  # whether the image is changed; else it is painted anew
    moves: bool = True  # whether light may come from beside; needs `skip`

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, width=1, halvings=1, depth=0)
        at_most(self, halvings=16, depth=LAYERS)
        if self.moves and not self.skip:
            raise ValueError("moves needs skip: what is painted anew was not moved")

    def build(self, shape: Shape) -> nn.Module:
        """Images [n, c, h, w] in [-1, 1] to the same.

        Raises:
            ConfigError: the side cannot be halved so often.
        """
        _divisible(shape, self.halvings)
        c, wide = shape[0], [self.width * 2**i for i in range(self.halvings)]
        layers: list[nn.Module] = []
        for a, b in pairwise([c + 2, *wide]):
            layers += [nn.Conv2d(a, b, 4, 2, 1), *self._then(b)]
        layers += [Shortcut(*self._block(wide[-1])) for _ in range(self.depth)]
        layers += [Attention(wide[-1])] if self.attention else []
        for a, b in pairwise([*reversed(wide), self.width]):
            layers += [*doubled(self.upsample, a, b), *self._then(b)]
        last = nn.Conv2d(self.width + 2, c + 2 * self.moves, 1)
        if self.skip:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        return Translator(nn.Sequential(*layers), last, skip=self.skip, moves=self.moves)

    def _then(self, channels: int) -> list[nn.Module]:
        return [normalise(self.norm, channels), ACTIVATIONS[self.activation]()]

    def _block(self, channels: int) -> list[nn.Module]:
        first, second = (nn.Conv2d(channels, channels, 3, 1, 1) for _ in range(2))
        return [first, *self._then(channels), second]


class Translator(nn.Module):
    """A net that says of each place how light moves there, and what is painted over it."""

    def __init__(self, net: nn.Module, last: nn.Conv2d, *, skip: bool, moves: bool) -> None:
        super().__init__()
        self.net, self.last = net, last
        self.skip, self.moves = skip, moves

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] in [-1, 1] to the same shape and range."""
        found = self.last(with_places(self.net(with_places(x))))
        paint = torch.tanh(found[:, : x.shape[1]])
        if not self.skip:
            return paint
        kept = moved(x, found[:, x.shape[1] :]) if self.moves else x
        # So much of the way to the light end or the dark one, which stays between them.
        out: Tensor = kept * (1 - paint.abs()) + paint
        return out


@component
class Patches:
    """Strided 4x4 convolutions to a map of logits: a critic that judges places, not the whole.

    Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", 2017,
    section 3.2.2. Differs: every place is told where it lies.
    """

    name: Literal["patches"] = "patches"
    width: int = 16  # channels of the first layer; doubled at each halving
    halvings: int = 2
    norm: Norm = "none"
    activation: Activation = "leaky_relu"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, width=1, halvings=1)
        at_most(self, halvings=16)

    def encoder(self, shape: Shape, out: int) -> nn.Module:
        """Images [n, c, h, w] to `out` logits of each place, [n, places * out].

        Raises:
            ConfigError: the side cannot be halved so often.
        """
        _divisible(shape, self.halvings)
        layers: list[nn.Module] = [Places()]
        wide = [shape[0] + 2, *(self.width * 2**i for i in range(self.halvings))]
        for a, b in pairwise(wide):
            layers += [nn.Conv2d(a, b, 4, 2, 1), normalise(self.norm, b)]
            layers.append(ACTIVATIONS[self.activation]())
        return nn.Sequential(*layers, nn.Conv2d(wide[-1], out, 3, 1, 1), nn.Flatten())


class Places(nn.Module):
    """Appends to an image where each of its places lies."""

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to [n, c + 2, h, w]."""
        return with_places(x)


def with_places(x: Tensor) -> Tensor:
    """Images [n, c, h, w] and, as two channels more, how far right and down each place is.

    From -1 to 1. Source: Liu et al., "An Intriguing Failing of Convolutional Neural Networks and
    the CoordConv Solution", 2018, section 3.
    """
    return torch.cat([x, _places(x).expand(x.shape[0], -1, -1, -1)], 1)


def moved(x: Tensor, by: Tensor) -> Tensor:
    """Each place of `x` [n, c, h, w] takes the light that lies `by` [n, 2, h, w] beside it.

    Right and down, in halves of a side; bilinear; beyond the edge is what is at the edge. Twice
    differentiable, which torch's `grid_sample` is not.
    """
    h, w = x.shape[2:]
    size = x.new_tensor([w, h]).view(1, 2, 1, 1)
    at = ((_places(x) + by) + 1) * (size - 1) / 2
    at = torch.minimum(at.clamp_min(0), size - 1)
    low = torch.minimum(at.detach().floor(), size - 2).clamp_min(0)
    right, down = (at - low).unbind(1)
    column, row = low.long().unbind(1)
    flat = x.flatten(2)

    def light(i: int, j: int) -> Tensor:
        place = (row + i).clamp_max(h - 1) * w + (column + j).clamp_max(w - 1)
        index = place.flatten(1).unsqueeze(1).expand(-1, x.shape[1], -1)
        return flat.gather(2, index).view_as(x)

    right, down = right.unsqueeze(1), down.unsqueeze(1)
    above = light(0, 0) + right * (light(0, 1) - light(0, 0))
    below = light(1, 0) + right * (light(1, 1) - light(1, 0))
    return above + down * (below - above)


def _places(x: Tensor) -> Tensor:
    """[1, 2, h, w]: how far right and down, from -1 to 1."""
    h, w = x.shape[2:]
    down, right = (torch.linspace(-1, 1, n, dtype=x.dtype, device=x.device) for n in (h, w))
    return torch.stack([right.expand(h, w), down.unsqueeze(1).expand(h, w)]).unsqueeze(0)


def _divisible(shape: Shape, halvings: int) -> None:
    if shape[1] % 2**halvings or shape[2] % 2**halvings:
        raise ConfigError(
            f"{shape[1]}x{shape[2]} pixels cannot be halved {halvings} times. Lower `halvings`, or "
            "use a size such as 16, 28, 32 or 64."
        )
