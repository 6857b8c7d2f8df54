"""The adversarial auto-encoder: a critic, instead of a KL term, keeps codes like the prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.models.base import Nets, Noise
from metasearch.models.gaussian import (
    Gaussian,
    draw_codes,
    importance_bound,
    pixel_means,
    pixel_nats,
)
from metasearch.models.nets import NETS, Conv, Mlp, Squeeze
from metasearch.registry import OneOf, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@component
class AAE:
    """An auto-encoder, and a critic that tells its codes from draws of the prior.

    Source: Makhzani et al., "Adversarial Autoencoders", 2016, section 2, with the Gaussian
    posterior. Differs: the encoder descends reconstruction and `weight` times its adversarial loss
    in one move, instead of in two phases with optimisers of their own.
    """

    name: Literal["aae"] = "aae"
    latent: int = 16
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    hidden: int = 128  # width of the critic's two layers
    weight: float = 10.0  # of the adversarial loss beside nats of pixels

    def __post_init__(self) -> None:
        """Refuse what cannot be built or played."""
        at_least(self, latent=1, hidden=1, weight=0)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind."""
        return ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """The critic of codes, and encoder and decoder together."""
        return {"critic": ("critic",), "autoencoder": ("encoder", "decoder")}

    @property
    def turns(self) -> tuple[str, ...]:
        """The critic first, so that the encoder meets an informed one."""
        return ("critic", "autoencoder")

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Encoder to mean and log-variance, decoder to pixel logits, critic from code to logit.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        wide = self.hidden
        return {
            "encoder": self.net.encoder(shape, 2 * self.latent),
            "decoder": self.net.decoder(self.latent, shape),
            "critic": nn.Sequential(
                nn.Linear(self.latent, wide),
                nn.SiLU(),
                nn.Linear(wide, wide),
                nn.SiLU(),
                nn.Linear(wide, 1),
                Squeeze(),
            ),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """`eps` [rows, samples, latent] for the posterior, `z` [rows, latent] for the prior."""
        return draw_codes(like, rng, self.latent, samples)

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """Of each image, in nats: the critic's cross-entropy, or pixel nats plus what fools it.

        The critic sees codes as constants: its inner steps carry no path into the encoder.
        """
        x, eps = batch["x"], noise["eps"][:, 0]
        if player == "critic":
            with torch.no_grad():
                code = Gaussian.of(nets["encoder"](x)).at(eps)
            return F.softplus(-nets["critic"](noise["z"])) + F.softplus(nets["critic"](code))
        code = Gaussian.of(nets["encoder"](x)).at(eps)
        fooled = F.softplus(-nets["critic"](code))
        return pixel_nats(nets["decoder"](code), x) + self.weight * fooled

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """Pixel means of draws from the prior."""
        return {"x": pixel_means(nets["decoder"](noise["z"]))}

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The importance-weighted bound of each image in nats.

        Prior and decoder define a density as those of a VAE do; the encoder only proposes codes.
        Nothing keeps it as wide as the true posterior, so the bound may be loose.
        """
        posterior = Gaussian.of(nets["encoder"](batch["x"]))
        return importance_bound(nets["decoder"], batch["x"], noise["eps"], posterior)

    def encode(self, nets: Nets, batch: Batch) -> Tensor:
        """The posterior means, [rows, latent]."""
        return Gaussian.of(nets["encoder"](batch["x"])).mean

    def reconstruct(self, nets: Nets, batch: Batch) -> Batch:
        """Pixel means of what the posterior means are decoded to."""
        return {"x": pixel_means(nets["decoder"](self.encode(nets, batch)))}
