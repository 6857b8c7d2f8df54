"""The variational auto-encoder."""

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
class VAE:
    """A latent Gaussian, a Bernoulli per pixel, the evidence lower bound.

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, eq. 10 and appendix B; with
    `beta` Higgins et al., 2017, eq. 4; with `warmup` Sonderby et al., "Ladder Variational
    Autoencoders", 2016, section 2.4. Differs: grey pixels count as Bernoulli means, so a loss
    is a cross-entropy and comparable between models, but a density only for binary images.

    The objective `seed_literal` is an ablation, no bound of anything: two players, of which the
    encoder descends -log D(E(x)) and the decoder -log D(E(x)) - log(1 - D(z)), where D scores what
    the decoder makes of a code. See docs/guides/seed-formulas.md.
    """

    name: Literal["vae"] = "vae"
    latent: int = 32
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    beta: float = 1.0  # weight of the KL term in training; likelihoods are always at 1
    warmup: float = 0.0  # share of the budget over which `beta` grows to that from 0
    objective: Literal["elbo", "seed_literal"] = "elbo"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, latent=1, beta=0, warmup=0)
        if self.objective == "seed_literal" and (self.beta, self.warmup) != (1, 0):
            raise ValueError("beta and warmup weigh a term that objective: seed_literal lacks")

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind; during a warm-up, how far training is."""
        return ("x", "progress") if self.warmup else ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Encoder and decoder descend one loss together; taken literally, each its own."""
        if self.objective == "seed_literal":
            return {"encoder": ("encoder",), "decoder": ("decoder", "scorer")}
        return {"vae": ("encoder", "decoder")}

    @property
    def turns(self) -> tuple[str, ...]:
        """One move of everybody an inner step."""
        return tuple(self.players)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Encoder to mean and log-variance, decoder to pixel logits.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        nets: dict[str, nn.Module] = {
            "encoder": self.net.encoder(shape, 2 * self.latent),
            "decoder": self.net.decoder(self.latent, shape),
        }
        if self.objective == "seed_literal":
            nets["scorer"] = nn.Sequential(self.net.encoder(shape, 1), Squeeze())
        return nets

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """`eps` [rows, samples, latent] for the posterior, `z` [rows, latent] for the prior."""
        return draw_codes(like, rng, self.latent, samples)

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The negative bound of each image, in nats, with the KL term times `beta`."""
        if self.objective == "seed_literal":
            return _seed_loss(player, nets, batch["x"], noise["z"])
        posterior = Gaussian.of(nets["encoder"](batch["x"]))
        logits = nets["decoder"](posterior.at(noise["eps"][:, 0]))
        beta = self.beta * warmed(batch, self.warmup)
        return pixel_nats(logits, batch["x"]) + beta * posterior.kl()

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """Pixel means of draws from the prior."""
        return {"x": pixel_means(nets["decoder"](noise["z"]))}

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The importance-weighted bound of each image in nats, from `noise["eps"]`'s samples."""
        posterior = Gaussian.of(nets["encoder"](batch["x"]))
        return importance_bound(nets["decoder"], batch["x"], noise["eps"], posterior)

    def encode(self, nets: Nets, batch: Batch) -> Tensor:
        """The posterior means, [rows, latent]."""
        return Gaussian.of(nets["encoder"](batch["x"])).mean

    def reconstruct(self, nets: Nets, batch: Batch) -> Batch:
        """Pixel means of what the posterior means are decoded to."""
        return {"x": pixel_means(nets["decoder"](self.encode(nets, batch)))}


def _seed_loss(player: str, nets: Nets, x: Tensor, z: Tensor) -> Tensor:
    """The encoder's -log D(E(x)), or the decoder's -log D(E(x)) - log(1 - D(z)), of each image."""

    def logit(code: Tensor) -> Tensor:
        return nets["scorer"](pixel_means(nets["decoder"](code)))

    if player == "encoder":
        return F.softplus(-logit(Gaussian.of(nets["encoder"](x)).mean))
    with torch.no_grad():  # what another player makes is a constant
        code = Gaussian.of(nets["encoder"](x)).mean
    return F.softplus(-logit(code)) + F.softplus(logit(z))
