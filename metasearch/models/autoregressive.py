"""The autoregressive model: one pixel after another, and the exact probability of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.models.base import Nets, Noise, rows
from metasearch.models.nets import LAYERS
from metasearch.registry import at_least, at_most, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape

DARK = -1.0  # what lies outside the image


@component
class Autoregressive:
    """Bernoulli pixels in raster order, each given a window of those before it and its place.

    A hidden layer adds up three things: a square window to the left of the pixel, down to its row;
    another above it, from its column on to the right; and a vector of its place. Pointwise layers
    follow. The windows are cut out and not masked, so every weight is used, there is no blind spot,
    and drawing an image pixel by pixel costs no more than one look at all of it. The channels of a
    pixel follow each other along its row.

    A grey pixel is a chance of light: the windows see the image as it falls when each pixel is
    drawn by its chance, and the nats are those of such images on average. It is what the bound of a
    `vae` with Bernoulli pixels bounds; for black-and-white images nothing is drawn.

    Source: van den Oord et al., "Pixel Recurrent Neural Networks", 2016, sections 2.1 and 3.4, and
    "Conditional Image Generation with PixelCNN Decoders", 2016, section 2.2 (two stacks, no blind
    spot). Differs: one layer of windows; Bernoulli pixels; a learned vector of each place, in which
    a few steps can write where a class has its strokes.
    """

    name: Literal["autoregressive"] = "autoregressive"
    reach: int = 7  # side of the windows, in pixels
    width: int = 64  # hidden channels
    depth: int = 1  # pointwise hidden layers after the windows

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, reach=1, width=1, depth=0)
        at_most(self, reach=64, depth=LAYERS)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind."""
        return ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """All nets descend one loss together."""
        return {"autoregressive": ("left", "above", "place", "head")}

    @property
    def turns(self) -> tuple[str, ...]:
        """One move an inner step."""
        return ("autoregressive",)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Windows and places to hidden channels, head to one logit per pixel."""
        channels, height, width = shape
        hidden: list[nn.Module] = [nn.SiLU()]
        for _ in range(self.depth):
            hidden += [nn.Conv2d(self.width, self.width, 1), nn.SiLU()]
        place = nn.Embedding(height * width * channels, self.width)
        nn.init.normal_(place.weight, std=0.05)
        return {
            "left": nn.Conv2d(1, self.width, self.reach),
            "above": nn.Conv2d(1, self.width, self.reach, bias=False),
            "place": place,
            "head": nn.Sequential(*hidden, nn.Conv2d(self.width, 1, 1)),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`u` [rows, pixels], uniform in [0, 1): a pixel is light where `u` is below its chance."""
        x = like["x"]
        size = (rows(like), x[0].numel())
        u = torch.rand(size, generator=rng.torch(x.device), device=x.device, dtype=x.dtype)
        return {"u": u}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """Nats of each image, all pixels added up."""
        light = (_in_a_row(batch["x"]) + 1) / 2
        fallen = (noise["u"].reshape(light.shape) < light).to(light.dtype)
        logits = self.logits(nets, 2 * fallen - 1)
        nats = F.binary_cross_entropy_with_logits(logits, light, reduction="none")
        return nats.flatten(1).sum(1)

    def logits(self, nets: Nets, images: Tensor) -> Tensor:
        """Of each pixel given those before it, [n, 1, h, w], for one-channel images in {-1, 1}."""
        k, (n, _, h, w) = self.reach, images.shape
        canvas = F.pad(images, (k, k - 1, k, 0), value=DARK)
        every = torch.arange(h * w, device=images.device).expand(n, -1)
        place = nets["place"](every).mT.reshape(n, -1, h, w)
        left = nets["left"](canvas[:, :, 1:, : w + k - 1])
        above = nets["above"](canvas[:, :, :-1, k:])
        return nets["head"](left + above + place)

    @torch.no_grad()
    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Black-and-white images, drawn pixel by pixel; a draw has no derivative."""
        c, h, w = given["x"].shape[1:]
        k, w, n = self.reach, c * w, rows(noise)
        u = noise["u"].reshape(n, h, w)
        canvas = u.new_full((n, 1, h + k, w + 2 * k - 1), DARK)
        for i in range(h):
            row = torch.arange(i * w, (i + 1) * w, device=u.device).expand(n, -1)
            place = nets["place"](row).mT.unsqueeze(2)
            known = place + nets["above"](canvas[:, :, i : i + k, k:])  # of the rows above
            for j in range(w):
                window = canvas[:, :, i + 1 : i + 1 + k, j : j + k]
                logit = nets["head"](known[..., j : j + 1] + nets["left"](window))
                light = u[:, i, j] < torch.sigmoid(logit.flatten())
                canvas[:, 0, i + k, j + k] = 2.0 * light - 1
        images = canvas[:, 0, k:, k : k + w].reshape(n, h, -1, c)
        return {"x": images.permute(0, 3, 1, 2).contiguous()}

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """Of each image in nats: exact in black and white; of grey ones one draw is seen."""
        return -self.loss("autoregressive", nets, batch, noise)


def _in_a_row(images: Tensor) -> Tensor:
    """[n, c, h, w] to one channel [n, 1, h, w * c], the channels of a pixel side by side."""
    n, c, h, w = images.shape
    return images.permute(0, 2, 3, 1).reshape(n, 1, h, w * c)
