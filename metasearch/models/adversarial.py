"""What a generator and its critic descend: losses on logits, and penalties on the critic's slope.

A critic is any callable from images [n, c, h, w] to logits [n], or to logits of their places
[n, places], of whose losses the mean is taken. A loss is per image, or per pair of a real and a
generated image, so that a family need not know which rows make a task.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.models.base import Net
from metasearch.registry import Table, at_least, component


@component
class NonSaturating:
    """Cross-entropy on logits; the generator maximises log D(G(z)).

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, section 3.
    """

    name: Literal["nonsaturating"] = "nonsaturating"
    r1: float = 1.0  # weight of the squared slope at real images; 0 leaves it out

    def __post_init__(self) -> None:
        """Refuse a reward for steepness."""
        at_least(self, r1=0)

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:  # noqa: ARG002
        """-log D(x) - log(1 - D(G(z))) of each pair, in nats; 2 ln 2 at chance."""
        both = of_images(F.softplus(-net(real)) + F.softplus(net(fake)))
        return both + r1_penalty(net, real, self.r1)

    def generator(self, logits: Tensor) -> Tensor:
        """-log D(G(z)) of each image, in nats."""
        return of_images(F.softplus(-logits))


@component
class Hinge:
    """Real images shall be above 1, generated ones below -1; beyond, nothing is gained.

    Source: Lim & Ye, "Geometric GAN", 2017, section 3; Miyato et al., "Spectral Normalization for
    Generative Adversarial Networks", 2018, eq. 16 and 17.
    """

    name: Literal["hinge"] = "hinge"
    r1: float = 1.0  # weight of the squared slope at real images; 0 leaves it out

    def __post_init__(self) -> None:
        """Refuse a reward for steepness."""
        at_least(self, r1=0)

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:  # noqa: ARG002
        """max(0, 1 - f(x)) + max(0, 1 + f(G(z))) of each pair; 2 where f is 0."""
        both = of_images(F.relu(1 - net(real)) + F.relu(1 + net(fake)))
        return both + r1_penalty(net, real, self.r1)

    def generator(self, logits: Tensor) -> Tensor:
        """-f(G(z)) of each image."""
        return of_images(-logits)


@component
class LeastSquares:
    """Real images shall be at 1, generated ones at 0.

    Source: Mao et al., "Least Squares Generative Adversarial Networks", 2017, eq. 9.
    """

    name: Literal["least_squares"] = "least_squares"
    r1: float = 1.0  # weight of the squared slope at real images; 0 leaves it out

    def __post_init__(self) -> None:
        """Refuse a reward for steepness."""
        at_least(self, r1=0)

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:  # noqa: ARG002
        """((f(x) - 1)^2 + f(G(z))^2) / 2 of each pair."""
        squares = (net(real) - 1).square() + net(fake).square()
        return 0.5 * of_images(squares) + r1_penalty(net, real, self.r1)

    def generator(self, logits: Tensor) -> Tensor:
        """(f(G(z)) - 1)^2 / 2 of each image."""
        return 0.5 * of_images((logits - 1).square())


@component
class Wasserstein:
    """The Wasserstein critic with a gradient penalty.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, eq. 3. `channel_figr`
    is what the published code of FIGR (Clouatre & Demers, 2019) computes: a norm for each pixel,
    over its channels alone, which pushes the slope of a whole image to the root of its pixels.
    """

    name: Literal["wasserstein"] = "wasserstein"
    penalty: float = 10.0
    gp_axis: Literal["sample", "channel_figr"] = "sample"  # what the slope's norm is taken over

    def __post_init__(self) -> None:
        """Refuse a reward for steepness."""
        at_least(self, penalty=0)

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """f(G(z)) - f(x) plus the penalty at a random point between, for each pair."""
        steep = gradient_penalty(net, real, fake, mix, by_pixel=self.gp_axis == "channel_figr")
        return of_images(net(fake) - net(real)) + self.penalty * steep

    def generator(self, logits: Tensor) -> Tensor:
        """-f(G(z)) of each image."""
        return of_images(-logits)


@component
class SeedLiteral:
    """The founding text's formulas, symbol by symbol: an ablation, not a recommendation.

    What each symbol is taken to mean, and why the default differs: docs/guides/seed-formulas.md.
    A family draws one latent vector for all images of a loss, since z has no index in the text.
    """

    name: Literal["seed_literal"] = "seed_literal"
    adjust: Literal["own", "cross_entropy"] = "own"  # what players descend: L_G and L_D, or L_CE

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:  # noqa: ARG002
        """-L_D of each pair in nats, which the text maximises; or L_CE, a half of it."""
        both = F.softplus(-net(real)) + F.softplus(net(fake))
        return both if self.adjust == "own" else 0.5 * both

    def generator(self, logits: Tensor) -> Tensor:
        """L_G of each image in nats; or its part of L_CE, by which it helps its critic."""
        if self.adjust == "own":
            return F.softplus(-logits)
        return 0.5 * F.softplus(logits)


Objective = NonSaturating | Hinge | LeastSquares | Wasserstein | SeedLiteral

LOSSES = Table(
    "GAN loss",
    {
        "nonsaturating": NonSaturating,
        "hinge": Hinge,
        "least_squares": LeastSquares,
        "wasserstein": Wasserstein,
        "seed_literal": SeedLiteral,
    },
)


def of_images(values: Tensor) -> Tensor:
    """Numbers of images [n] as they are; those of places [n, places] as the mean of each image."""
    return values if values.dim() == 1 else values.flatten(1).mean(1)


def slope(net: Net, images: Tensor) -> Tensor:
    """The derivative of each image's (mean) logit in its pixels; constant under no_grad.

    [n, c, h, w], as the images.
    """
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        point = images.detach().requires_grad_()
        (found,) = torch.autograd.grad(of_images(net(point)).sum(), point, create_graph=keep)
    return found


def r1_penalty(net: Net, real: Tensor, weight: float) -> Tensor:
    """``weight / 2`` times the squared slope at each real image [n]; zero without a weight.

    Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", 2018, eq. 9.
    """
    if not weight:
        return real.new_zeros(real.shape[0])
    return 0.5 * weight * slope(net, real).flatten(1).square().sum(1)


def gradient_penalty(
    net: Net, real: Tensor, fake: Tensor, mix: Tensor, *, by_pixel: bool = False
) -> Tensor:
    """(||slope|| - 1)^2 per image at ``mix * real + (1 - mix) * fake``; `mix` [n, 1, 1, 1].

    The norm is that of the whole image, or with `by_pixel` one for each pixel, of which the mean
    is taken.
    """
    steep = slope(net, mix * real + (1 - mix) * fake).square()
    squares = steep.sum(1).flatten(1) if by_pixel else steep.flatten(1).sum(1, keepdim=True)
    # A bias under the root keeps the second derivative finite where the slope is exactly zero.
    return ((squares + 1e-16).sqrt() - 1).square().mean(1)


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """The mean cross-entropy of a critic's logits on real and generated images; ln 2 at chance.

    L_CE of the founding text, of as many real images (y = 1) as generated ones (y = 0).
    """
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())
