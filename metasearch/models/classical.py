"""Models of the textbooks: they adapt in closed form, and what is learned is their prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.models.base import Net, Nets, Noise, rows
from metasearch.registry import OneOf, Table, at_least, at_most, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape

# Numbers stand in layers without an input, and are so many times their weight: a rate that suits
# the weights of nets is small for a logarithm or a logit.
GAIN = 10.0


@component
class Pixels:
    """Each pixel by itself: its chance is the mean of the set's, drawn towards a learned one.

    The posterior mean of a Bernoulli with a Beta prior that counts for `strength` images, which is
    learned with the prior's mean.
    """

    name: Literal["pixels"] = "pixels"

    @property
    def nets(self) -> tuple[str, ...]:
        """None of its own."""
        return ()

    def build(self) -> Mapping[str, nn.Module]:
        """No net."""
        return {}

    def parts(self, nets: Nets, heard: Tensor, mean: Tensor, sets: Tensor) -> Parts:  # noqa: ARG002
        """One."""
        return mean.new_zeros(mean.shape[0], 1), mean.unsqueeze(1), 1 - mean.unsqueeze(1)

    def drawn(self, nets: Nets, images: Tensor, mean: Tensor, noise: Noise) -> Tensor:  # noqa: ARG002
        """The chance of each pixel, whichever image the row is drawn for."""
        return mean


@component
class Kernel:
    """Each image of the set, smeared and perhaps shifted, is a part of the mixture.

    A pixel is that of the image with a learned chance, and else drawn as `Pixels` does, which is
    one part more. With a `reach`, each image counts in all places it may be shifted to, with
    learned weights.

    Source: Aitchison & Aitken, "Multivariate binary discrimination by the kernel method", 1976,
    eq. 2. Differs: what is not copied is drawn from the set's mean and not evenly; shifts.
    """

    name: Literal["kernel"] = "kernel"
    reach: int = 0  # pixels an image is shifted at most, each way

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, reach=0)
        at_most(self, reach=64)

    @property
    def nets(self) -> tuple[str, ...]:
        """Chances, as logits."""
        return ("smear", "share", "shift")

    def build(self) -> Mapping[str, nn.Module]:
        """How much is not copied, the share of the set's mean, and where images are shifted to."""
        return {"smear": _number(1), "share": _number(1), "shift": _number(len(self._shifts()))}

    def parts(self, nets: Nets, heard: Tensor, mean: Tensor, sets: Tensor) -> Parts:
        """The mean, then each image in each place, [rows, 1 + k * shifts, ...]."""
        n, places = mean.shape[0], self._shifts()
        copies = torch.stack([_shifted(sets, *place) for place in places], 2).flatten(1, 2)
        smear = torch.sigmoid(_told(nets["smear"], mean)).reshape(n, 1, *[1] * (mean.dim() - 1))
        light, dark = (
            (1 - smear) * own + smear * rest.unsqueeze(1)
            for own, rest in ((copies, mean), (1 - copies, 1 - mean))
        )
        share = _told(nets["share"], mean)
        where = _told(nets["shift"], mean).log_softmax(1)
        count = heard.sum(1, keepdim=True).to(mean.dtype)
        whole = torch.where(count > 0, F.logsigmoid(share), 0.0)
        each = torch.where(heard, F.logsigmoid(-share) - count.clamp_min(1).log(), -torch.inf)
        return (
            torch.cat([whole, (each.unsqueeze(2) + where.unsqueeze(1)).flatten(1)], 1),
            torch.cat([mean.unsqueeze(1), light], 1),
            torch.cat([1 - mean.unsqueeze(1), dark], 1),
        )

    def drawn(self, nets: Nets, images: Tensor, mean: Tensor, noise: Noise) -> Tensor:
        """The chance of each pixel in the part that `noise["which"]` [rows, 2] picks.

        Of the images, each row's own is taken: rows go through the set in turn.
        """
        which = noise["which"]
        edges = _told(nets["shift"], mean).softmax(1).cumsum(1)
        place = (which[:, 1:] >= edges[:, :-1]).sum(1)
        copies = torch.stack([_shifted(images, *p) for p in self._shifts()], 1)
        copy = copies[torch.arange(place.shape[0]), place]
        smear, share = (
            torch.sigmoid(_told(nets[name], mean)).reshape(-1, 1, 1, 1)
            for name in ("smear", "share")
        )
        alone = which[:, :1].reshape(-1, 1, 1, 1) < share
        return torch.where(alone, mean, (1 - smear) * copy + smear * mean)

    def _shifts(self) -> list[tuple[int, int]]:
        span = range(-self.reach, self.reach + 1)
        return [(i, j) for i in span for j in span]


KINDS = Table("classical model", {"pixels": Pixels, "kernel": Kernel})


@component
class Classical:
    """A mixture of independent Bernoulli pixels that is read off the set, without a gradient step.

    What is meta-learned is a prior: the mean of each pixel, how many images it counts for, and what
    `kind` adds. `joint` learns it; an inner loop would only learn it anew. Likelihoods are exact
    for black-and-white images; for grey ones, as chances of light, a bound from below. Images are
    drawn in black and white.
    """

    name: Literal["classical"] = "classical"
    kind: Annotated[Pixels | Kernel, OneOf(KINDS)] = Pixels()

    @property
    def domains(self) -> tuple[str, ...]:
        """An image, and others of its class."""
        return ("x", "given")

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """All numbers descend one loss together."""
        return {"classical": ("prior", "strength", *self.kind.nets)}

    @property
    def turns(self) -> tuple[str, ...]:
        """One move an inner step."""
        return ("classical",)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """The prior's logits, the logarithm of its strength, and what `kind` adds."""
        pixels = shape[0] * shape[1] * shape[2]
        return {"prior": _number(pixels), "strength": _number(1), **self.kind.build()}

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`u` [rows, c, h, w] for pixels and `which` [rows, 2] for a part; uniform in [0, 1)."""
        x, make = like["x"], rng.torch(like["x"].device)
        u = torch.rand(x.shape, generator=make, device=x.device, dtype=x.dtype)
        which = torch.rand(rows(like), 2, generator=make, device=x.device, dtype=x.dtype)
        return {"u": u, "which": which}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """-log p of each image given its set, in nats."""
        return -self.log_likelihood(nets, batch, noise)

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Draws from the mixture of each row's set."""
        mean, _ = _posterior(nets, given)
        chance = self.kind.drawn(nets, _light(given["x"]), mean, noise)
        return {"x": 2 * (noise["u"] < chance).to(mean.dtype) - 1}

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """Of each image given its set, in nats."""
        x = _light(batch["x"]).unsqueeze(1)
        mean, sets = _posterior(nets, batch)
        weight, light, dark = self.kind.parts(nets, batch["heard"], mean, sets)
        each = (x * light.log() + (1 - x) * dark.log()).flatten(2).sum(2)
        return torch.logsumexp(weight + each, 1)


Parts = tuple[Tensor, Tensor, Tensor]
"""log weights [rows, m]; chances of light, and of dark, of each pixel [rows, m, c, h, w]."""


def _posterior(nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
    """The posterior mean of each row's pixels [rows, c, h, w], and the images heard as light.

    Those that are not heard are dark, be they finite or not.
    """
    given, heard = batch["given"], batch["heard"]
    mask = heard.reshape(*heard.shape, 1, 1, 1)
    sets = torch.where(mask, _light(given), 0.0)
    strength = _told(nets["strength"], given).exp().reshape(-1, 1, 1, 1)
    prior = torch.sigmoid(_told(nets["prior"], given)).reshape(given.shape[0], *given.shape[2:])
    count = heard.sum(1).reshape(-1, 1, 1, 1)
    return (strength * prior + sets.sum(1)) / (strength + count), sets


def _number(n: int) -> nn.Module:
    """`n` numbers that start near zero."""
    layer = nn.Linear(1, n, bias=False)
    nn.init.normal_(layer.weight, std=1e-3)
    return layer


def _told(net: Net, like: Tensor) -> Tensor:
    """The numbers of a net, for each row: [rows, n]."""
    told: Tensor = net(like.new_full((like.shape[0], 1), GAIN))
    return told


def _light(images: Tensor) -> Tensor:
    return (images + 1) / 2


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Images [..., h, w] shifted by whole pixels, with dark behind them."""
    return F.pad(images, (right, -right, down, -down))
