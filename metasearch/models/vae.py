"""The variational auto-encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.models.base import Nets, Noise, rows
from metasearch.models.nets import NETS, Conv, Mlp
from metasearch.registry import OneOf, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@component
class VAE:
    """A latent Gaussian, a Bernoulli per pixel, the evidence lower bound.

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, eq. 10 and appendix B; with
    `beta` Higgins et al., 2017, eq. 4. Differs: grey pixels count as Bernoulli means, so a loss
    is a cross-entropy and comparable between models, but a density only for binary images.
    """

    name: Literal["vae"] = "vae"
    latent: int = 32
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    beta: float = 1.0  # weight of the KL term in training; likelihoods are always at 1

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, latent=1, beta=0)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind."""
        return ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Encoder and decoder descend one loss together."""
        return {"vae": ("encoder", "decoder")}

    @property
    def turns(self) -> tuple[str, ...]:
        """One move an inner step."""
        return ("vae",)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Encoder to mean and log-variance, decoder to pixel logits.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        return {
            "encoder": self.net.encoder(shape, 2 * self.latent),
            "decoder": self.net.decoder(self.latent, shape),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """`eps` [rows, samples, latent] for the posterior, `z` [rows, latent] for the prior."""
        x, n = like["x"], rows(like)
        make = rng.torch(x.device)
        eps = torch.randn(n, samples, self.latent, generator=make, device=x.device, dtype=x.dtype)
        z = torch.randn(n, self.latent, generator=make, device=x.device, dtype=x.dtype)
        return {"eps": eps, "z": z}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """The negative bound of each image, in nats, with the KL term times `beta`."""
        mean, logvar = nets["encoder"](batch["x"]).chunk(2, -1)
        z = mean + noise["eps"][:, 0] * torch.exp(0.5 * logvar)
        nats = pixel_nats(nets["decoder"](z), batch["x"])
        kl = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum(-1)
        return nats + self.beta * kl

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """Pixel means of draws from the prior."""
        return {"x": torch.tanh(0.5 * nets["decoder"](noise["z"]))}  # 2 sigmoid(l) - 1

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The importance-weighted bound of each image in nats, from `noise["eps"]`'s samples.

        Source: Burda et al., "Importance Weighted Autoencoders", 2016, eq. 8.
        """
        x, eps = batch["x"], noise["eps"]
        n, samples, _ = eps.shape
        mean, logvar = (part.unsqueeze(1) for part in nets["encoder"](x).chunk(2, -1))
        z = mean + eps * torch.exp(0.5 * logvar)
        logits = nets["decoder"](z.flatten(0, 1))
        log_px = -pixel_nats(logits, x.repeat_interleave(samples, 0)).reshape(n, samples)
        log_ratio = 0.5 * (eps**2 - z**2 + logvar).sum(-1)  # log p(z) - log q(z|x)
        return torch.logsumexp(log_px + log_ratio, 1) - math.log(samples)


def pixel_nats(logits: Tensor, images: Tensor) -> Tensor:
    """Bernoulli cross-entropy of each image [n] in [-1, 1]: the sum of softplus(l) - x l."""
    target = 0.5 * (images + 1)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).sum(1)
