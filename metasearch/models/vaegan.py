"""The VAE whose reconstructions are compared in the features of a discriminator."""

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
    warmed,
)
from metasearch.models.nets import NETS, Conv, Mlp, Squeeze
from metasearch.registry import OneOf, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@component
class VAEGAN:
    """Encoder, decoder and discriminator, three players with a loss each.

    Source: Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", 2016,
    eq. 7-9 and algorithm 1. Differs: the decoder's adversarial loss is the non-saturating one;
    `pixels` adds the cross-entropy of pixels to the error in features, since features of a
    discriminator that has hardly learned say little; the features are its last layer but one.
    """

    name: Literal["vaegan"] = "vaegan"
    latent: int = 32
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    features: int = 64  # numbers in which the discriminator compares images
    beta: float = 1.0  # weight of the KL term
    warmup: float = 0.0  # share of the budget over which `beta` grows to that from 0
    gamma: float = 1.0  # weight of reconstruction beside the adversarial loss, for the decoder
    pixels: float = 1.0  # weight of pixel nats in reconstruction; 0 is the paper's

    def __post_init__(self) -> None:
        """Refuse what cannot be built or played."""
        at_least(self, latent=1, features=1, beta=0, warmup=0, gamma=0, pixels=0)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind; during a warm-up, how far training is."""
        return ("x", "progress") if self.warmup else ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Three players; the discriminator owns its features and its verdict."""
        return {
            "discriminator": ("trunk", "verdict"),
            "encoder": ("encoder",),
            "decoder": ("decoder",),
        }

    @property
    def turns(self) -> tuple[str, ...]:
        """The discriminator first, so that the others meet informed features."""
        return tuple(self.players)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Encoder to mean and log-variance, decoder to pixel logits, trunk to features.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        return {
            "encoder": self.net.encoder(shape, 2 * self.latent),
            "decoder": self.net.decoder(self.latent, shape),
            "trunk": self.net.encoder(shape, self.features),
            "verdict": nn.Sequential(nn.SiLU(), nn.Linear(self.features, 1), Squeeze()),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """`eps` [rows, samples, latent] for the posterior, `z` [rows, latent] for the prior."""
        return draw_codes(like, rng, self.latent, samples)

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """One player's loss of each image, in nats where features have unit variance.

        A player sees what the players before it in the chain from image to verdict made as
        constants: no path runs from one player's weights through another's inner steps.
        """
        x, eps = batch["x"], noise["eps"][:, 0]
        if player == "encoder":
            posterior = Gaussian.of(nets["encoder"](x))
            beta = self.beta * warmed(batch, self.warmup)
            return self._apart(nets, x, posterior.at(eps))[0] + beta * posterior.kl()
        with torch.no_grad():
            code = Gaussian.of(nets["encoder"](x)).at(eps)
        if player == "decoder":
            error, rebuilt = self._apart(nets, x, code)
            drawn = _logit(nets, pixel_means(nets["decoder"](noise["z"])))
            return self.gamma * error + F.softplus(-rebuilt) + F.softplus(-drawn)
        with torch.no_grad():
            fakes = [pixel_means(nets["decoder"](z)) for z in (code, noise["z"])]
        return F.softplus(-_logit(nets, x)) + sum(F.softplus(_logit(nets, fake)) for fake in fakes)

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """What draws from the prior are decoded to."""
        return {"x": pixel_means(nets["decoder"](noise["z"]))}

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The importance-weighted bound of each image in nats, pixels taken as Bernoulli means.

        The game does not aim at it: expect more nats than of a VAE.
        """
        posterior = Gaussian.of(nets["encoder"](batch["x"]))
        return importance_bound(nets["decoder"], batch["x"], noise["eps"], posterior)

    def encode(self, nets: Nets, batch: Batch) -> Tensor:
        """The posterior means, [rows, latent]."""
        return Gaussian.of(nets["encoder"](batch["x"])).mean

    def reconstruct(self, nets: Nets, batch: Batch) -> Batch:
        """What the posterior means are decoded to."""
        return {"x": pixel_means(nets["decoder"](self.encode(nets, batch)))}

    def _apart(self, nets: Nets, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """How far an image is from what its code is decoded to, and the verdict on the latter."""
        logits = nets["decoder"](code)
        seen, real = nets["trunk"](pixel_means(logits)), nets["trunk"](x)
        error = 0.5 * (seen - real).square().sum(1)  # Gaussian of unit variance, eq. 7
        return error + self.pixels * pixel_nats(logits, x), nets["verdict"](seen)


def _logit(nets: Nets, images: Tensor) -> Tensor:
    return nets["verdict"](nets["trunk"](images))
