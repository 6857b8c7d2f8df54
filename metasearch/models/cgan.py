"""The conditional generative adversarial network: images of the class that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.models.adversarial import Hinge, LeastSquares, NonSaturating, Wasserstein
from metasearch.models.base import Net, Nets, Noise, rows
from metasearch.models.conditions import each_set_once
from metasearch.models.discrepancy import energy
from metasearch.models.nets import NETS, Conv, Mlp
from metasearch.models.spectral import with_unit_norm
from metasearch.registry import OneOf, Table, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape

LOSSES = Table(
    "GAN loss",
    {
        "nonsaturating": NonSaturating,
        "hinge": Hinge,
        "least_squares": LeastSquares,
        "wasserstein": Wasserstein,
    },
)


@component
class CGAN:
    """G(z, y) and a projection discriminator D(x, y) = psi(x) + c(y) . phi(x).

    With `slots` a class is a number: its embeddings are columns of the generator's first layer and
    rows of the discriminator's last, meta-learned for each number and adapted to the task. With
    `sets` a class is its support images: an encoder of each player takes the mean of their
    embeddings, so that a class is known before any adaptation.

    An image whose class is not told (label -1) teaches what all classes have in common: both
    players leave out the class, D(x) = psi(x), and the generator draws any slot, or is told the
    whole support.

    Source: Mirza & Osindero, "Conditional Generative Adversarial Nets", 2014; Miyato & Koyama,
    "cGANs with Projection Discriminator", 2018, eq. 4. Differs: the generator is given the class
    beside z and not in its norms; unlabelled images.
    """

    name: Literal["cgan"] = "cgan"
    classes: int = 3  # of a task
    condition: Literal["slots", "sets"] = "slots"  # what tells a class
    latent: int = 64
    embedding: int = 32  # numbers that stand for a set
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    objective: Annotated[NonSaturating | Hinge | LeastSquares | Wasserstein, OneOf(LOSSES)] = (
        NonSaturating()
    )
    spectral: bool = False  # spectral normalisation of the discriminator
    energy: float = 0.0  # weight, for the generator, of the energy distance within each class
    critic_steps: int = 1  # discriminator moves in an inner step
    generator_steps: int = 1  # generator moves in an inner step

    def __post_init__(self) -> None:
        """Refuse what cannot be built or played."""
        at_least(self, classes=2, latent=1, embedding=2, energy=0)
        at_least(self, critic_steps=1, generator_steps=1)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images, their classes, and with `sets` the images that stand for a class."""
        return ("x", "y", "given") if self.condition == "sets" else ("x", "y")

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Two players; with `sets` each has an encoder of its own."""
        if self.condition == "slots":
            return {"discriminator": ("discriminator",), "generator": ("generator",)}
        return {
            "discriminator": ("discriminator", "discriminator_sets"),
            "generator": ("generator", "generator_sets"),
        }

    @property
    def turns(self) -> tuple[str, ...]:
        """The discriminator first, so that the generator meets an informed one."""
        return ("discriminator",) * self.critic_steps + ("generator",) * self.generator_steps

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Generator from latent and class, discriminator to psi and a number for each of c(y).

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        wide = self.classes if self.condition == "slots" else self.embedding
        critic = self.net.encoder(shape, 1 + wide)
        nets = {
            "discriminator": with_unit_norm(critic) if self.spectral else critic,
            "generator": self.net.decoder(self.latent + wide, shape),
        }
        if self.condition == "sets":
            for player in ("discriminator", "generator"):
                nets[f"{player}_sets"] = self.net.encoder(shape, wide)
        return nets

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`z` [rows, latent], `mix` [rows, 1, 1, 1] in [0, 1], `slot` [rows] where none is told."""
        x, n = like["x"], rows(like)
        make = rng.torch(x.device)
        z = torch.randn(n, self.latent, generator=make, device=x.device, dtype=x.dtype)
        mix = torch.rand(n, 1, 1, 1, generator=make, device=x.device, dtype=x.dtype)
        slot = torch.randint(self.classes, (n,), generator=make, device=x.device)
        found = {"z": z, "mix": mix, "slot": slot}
        if self.energy:
            found["again"] = torch.randn(z.shape, generator=make, device=x.device, dtype=x.dtype)
        return found

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The discriminator's or the generator's loss of each image.

        What is generated is of the class of the image beside it.
        """
        told = self._told(nets, batch)

        def critic(images: Tensor) -> Tensor:
            out = nets["discriminator"](images)
            return out[:, 0] + (told * out[:, 1:]).sum(1)

        fake = self._image(nets, batch, noise)
        if player == "discriminator":
            return self.objective.critic(critic, batch["x"], fake, noise["mix"])
        fooled = self.objective.generator(critic(fake))
        if not self.energy:
            return fooled
        again = self._image(nets, batch, {**noise, "z": noise["again"]})
        known = (batch["y"] >= 0).to(fake)  # a class that was picked is not that of the image
        return fooled + self.energy * known * energy(torch.stack([fake, again], 1), batch["x"])

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Images of the classes that `given` asks for; "y" says which, where it left that open."""
        y = self._slot(given, noise) if self.condition == "slots" else given["y"]
        return {"x": self._image(nets, given, noise), "y": y}

    def _image(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        z = noise["z"]
        if self.condition == "slots":
            # As loud as the latent: one number among many would hardly be heard at first.
            asked = F.one_hot(self._slot(batch, noise), self.classes).to(z) * self.latent**0.5
        else:
            asked = _mean_heard(nets["generator_sets"], batch)
        return torch.tanh(nets["generator"](torch.cat([z, asked], 1)))

    def _told(self, nets: Nets, batch: Batch) -> Tensor:
        """c(y) of each row [rows, wide]; zero where the class is not told."""
        x, y = batch["x"], batch["y"]
        known = (y >= 0).unsqueeze(1)
        if self.condition == "slots":
            return F.one_hot(y.clamp_min(0), self.classes).to(x) * known
        return _mean_heard(nets["discriminator_sets"], batch) * known

    def _slot(self, batch: Batch, noise: Noise) -> Tensor:
        return torch.where(batch["y"] >= 0, batch["y"], noise["slot"])


def _mean_heard(encoder: Net, batch: Batch) -> Tensor:
    """The mean embedding of the images that each row hears [rows, d]; zero where it hears none.

    Of one length, whatever an encoder of bright images makes of a few steps: as loud as the latent.
    """
    heard = batch["heard"].unsqueeze(2)
    codes = each_set_once(encoder, batch).masked_fill(~heard, 0)
    return F.layer_norm(codes.sum(1) / heard.sum(1).clamp_min(1), codes.shape[2:])
