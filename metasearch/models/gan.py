"""The generative adversarial network, with logits everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from metasearch.models.adversarial import LOSSES, NonSaturating, Objective, SeedLiteral
from metasearch.models.base import Nets, Noise, rows
from metasearch.models.nets import NETS, Conv, Mlp, Squeeze
from metasearch.models.spectral import with_unit_norm
from metasearch.registry import OneOf, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@component
class GAN:
    """A generator and a discriminator, each with its own loss in its own weights."""

    name: Literal["gan"] = "gan"
    latent: int = 64
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    objective: Annotated[Objective, OneOf(LOSSES)] = NonSaturating()
    spectral: bool = False  # spectral normalisation of the discriminator
    critic_steps: int = 1  # discriminator moves in an inner step
    generator_steps: int = 1  # generator moves in an inner step

    def __post_init__(self) -> None:
        """Refuse what cannot be built or played."""
        at_least(self, latent=1, critic_steps=1, generator_steps=1)

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
        return ("discriminator",) * self.critic_steps + ("generator",) * self.generator_steps

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Generator to unbounded images, discriminator to one logit.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        critic = nn.Sequential(self.net.encoder(shape, 1), Squeeze())
        return {
            "discriminator": with_unit_norm(critic) if self.spectral else critic,
            "generator": self.net.decoder(self.latent, shape),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`z` [rows, latent] and the penalty's `mix` [rows, 1, 1, 1], uniform in [0, 1].

        Also `one` [rows, latent], whose rows are equal, for an objective with one latent for all.
        """
        x, n = like["x"], rows(like)
        make = rng.torch(x.device)
        z = torch.randn(n, self.latent, generator=make, device=x.device, dtype=x.dtype)
        mix = torch.rand(n, 1, 1, 1, generator=make, device=x.device, dtype=x.dtype)
        found = {"z": z, "mix": mix}
        return found | {"one": z[:1].expand_as(z)} if self._one_latent else found

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The discriminator's or the generator's loss of each image."""
        fake = _image(nets, noise["one" if self._one_latent else "z"])
        if player == "generator":
            return self.objective.generator(nets["discriminator"](fake))
        return self.objective.critic(nets["discriminator"], batch["x"], fake, noise["mix"])

    @property
    def _one_latent(self) -> bool:
        return isinstance(self.objective, SeedLiteral)

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """The generator's images."""
        return {"x": _image(nets, noise["z"])}


def _image(nets: Nets, z: Tensor) -> Tensor:
    return torch.tanh(nets["generator"](z))
