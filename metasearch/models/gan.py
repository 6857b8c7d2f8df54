"""The generative adversarial network, with logits everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.models.base import Net, Nets, Noise, rows
from metasearch.models.nets import NETS, Conv, Mlp, Squeeze
from metasearch.registry import OneOf, Table, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@component
class NonSaturating:
    """Cross-entropy on logits; the generator maximises log D(G(z)).

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, section 3.
    """

    name: Literal["nonsaturating"] = "nonsaturating"

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:  # noqa: ARG002
        """-log D(x) - log(1 - D(G(z))) of each pair, in nats; 2 ln 2 at chance."""
        return F.softplus(-net(real)) + F.softplus(net(fake))

    def generator(self, logits: Tensor) -> Tensor:
        """-log D(G(z)) of each image, in nats."""
        return F.softplus(-logits)


@component
class Wasserstein:
    """The Wasserstein critic with a gradient penalty.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, eq. 3. The norm is
    over all pixels of an image, as in the paper (not over channels, as in FIGR's code).
    """

    name: Literal["wasserstein"] = "wasserstein"
    penalty: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what punishes nothing."""
        at_least(self, penalty=0)

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """f(G(z)) - f(x) plus the penalty at a random point between, for each pair."""
        return net(fake) - net(real) + self.penalty * gradient_penalty(net, real, fake, mix)

    def generator(self, logits: Tensor) -> Tensor:
        """-f(G(z)) of each image."""
        return -logits


def gradient_penalty(net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """(||grad f|| - 1)^2 per image at ``mix * real + (1 - mix) * fake``; `mix` [n, 1, 1, 1]."""
    keep = torch.is_grad_enabled()
    with torch.enable_grad():
        point = (mix * real + (1 - mix) * fake).detach().requires_grad_()
        (slope,) = torch.autograd.grad(net(point).sum(), point, create_graph=keep)
        # A bias under the root keeps the second derivative finite where the slope is exactly zero.
        return ((slope.flatten(1).square().sum(1) + 1e-16).sqrt() - 1) ** 2


LOSSES = Table("GAN loss", {"nonsaturating": NonSaturating, "wasserstein": Wasserstein})


@component
class GAN:
    """A generator and a discriminator, each with its own loss in its own weights."""

    name: Literal["gan"] = "gan"
    latent: int = 64
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    objective: Annotated[NonSaturating | Wasserstein, OneOf(LOSSES)] = NonSaturating()
    critic_steps: int = 1  # discriminator moves per generator move

    def __post_init__(self) -> None:
        """Refuse what cannot be built or played."""
        at_least(self, latent=1, critic_steps=1)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind."""
        return ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Two players with a net each."""
        return {"discriminator": ("discriminator",), "generator": ("generator",)}

    @property
    def turns(self) -> tuple[str, ...]:
        """The discriminator first, so that the generator meets an informed one."""
        return ("discriminator",) * self.critic_steps + ("generator",)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Generator to unbounded images, discriminator to one logit.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        return {
            "discriminator": nn.Sequential(self.net.encoder(shape, 1), Squeeze()),
            "generator": self.net.decoder(self.latent, shape),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`z` [rows, latent] and the penalty's `mix` [rows, 1, 1, 1], uniform in [0, 1]."""
        x, n = like["x"], rows(like)
        make = rng.torch(x.device)
        z = torch.randn(n, self.latent, generator=make, device=x.device, dtype=x.dtype)
        mix = torch.rand(n, 1, 1, 1, generator=make, device=x.device, dtype=x.dtype)
        return {"z": z, "mix": mix}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The discriminator's or the generator's loss of each image.

        The discriminator sees fakes as constants: its inner steps carry no path into the
        generator, also when they are differentiated through.
        """
        if player == "generator":
            return self.objective.generator(nets["discriminator"](_image(nets, noise)))
        with torch.no_grad():
            fake = _image(nets, noise)
        return self.objective.critic(nets["discriminator"], batch["x"], fake, noise["mix"])

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """The generator's images."""
        return {"x": _image(nets, noise)}


def _image(nets: Nets, noise: Noise) -> Tensor:
    return torch.tanh(nets["generator"](noise["z"]))
