"""Gaussian codes and Bernoulli pixels: what families with an encoder share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.models.base import Noise, rows
from metasearch.rng import Stream
from metasearch.tasks.base import Batch


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with independent coordinates for each row."""

    mean: Tensor  # [rows, latent]
    logvar: Tensor  # [rows, latent]

    @staticmethod
    def of(parameters: Tensor) -> Gaussian:
        """From a net's answer [rows, 2 * latent]: means, then log-variances."""
        return Gaussian(*parameters.chunk(2, -1))

    def at(self, eps: Tensor) -> Tensor:
        """The draws that standard ones `eps` [rows, latent] stand for."""
        return self.mean + eps * torch.exp(0.5 * self.logvar)

    def kl(self, prior: Gaussian | None = None) -> Tensor:
        """KL(self || prior) of each row in nats, [rows]; no prior is the standard one.

        Source: Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix B.
        """
        if prior is None:
            return -0.5 * (1 + self.logvar - self.mean**2 - self.logvar.exp()).sum(-1)
        gap = self.logvar - prior.logvar
        far = (self.mean - prior.mean) ** 2 * torch.exp(-prior.logvar)
        return -0.5 * (1 + gap - far - gap.exp()).sum(-1)


def draw_codes(like: Batch, rng: Stream, latent: int, samples: int) -> Noise:
    """`eps` [rows, samples, latent] for the posterior, `z` [rows, latent] for the prior."""
    x, n = like["x"], rows(like)
    make = rng.torch(x.device)
    eps = torch.randn(n, samples, latent, generator=make, device=x.device, dtype=x.dtype)
    z = torch.randn(n, latent, generator=make, device=x.device, dtype=x.dtype)
    return {"eps": eps, "z": z}


def importance_bound(
    decode: Callable[[Tensor], Tensor],
    images: Tensor,
    eps: Tensor,
    posterior: Gaussian,
    prior: Gaussian | None = None,
) -> Tensor:
    """A lower bound of log p of each image in nats, [rows], which tightens with more samples.

    `decode` takes codes [rows * samples, latent] to pixel logits; `eps` [rows, samples, latent] are
    standard draws; no prior is the standard one. Any posterior gives a bound; a better one, a
    tighter bound.

    Source: Burda et al., "Importance Weighted Autoencoders", 2016, eq. 8.
    """
    n, samples, _ = eps.shape
    mean, logvar = posterior.mean.unsqueeze(1), posterior.logvar.unsqueeze(1)
    z = mean + eps * torch.exp(0.5 * logvar)
    logits = decode(z.flatten(0, 1)).reshape(n, samples, -1)
    light = 0.5 * (images.reshape(n, 1, -1) + 1)
    # As two sums: a third of the passes over the pixels that `pixel_nats` makes, which is for loss.
    log_px = (light * logits).sum(-1) - F.softplus(logits).sum(-1)
    if prior is None:
        log_ratio = 0.5 * (eps**2 - z**2 + logvar).sum(-1)  # log p(z) - log q(z|x)
    else:
        m, v = prior.mean.unsqueeze(1), prior.logvar.unsqueeze(1)
        log_ratio = 0.5 * (eps**2 - (z - m) ** 2 * torch.exp(-v) + logvar - v).sum(-1)
    return torch.logsumexp(log_px + log_ratio, 1) - math.log(samples)


def warmed(batch: Batch, warmup: float) -> Tensor | float:
    """The factor on beta, [rows]: from 0 to 1 over the first `warmup` of the budget."""
    progress = batch.get("progress")
    return 1.0 if not warmup or progress is None else (progress / warmup).clamp(max=1.0)


def pixel_nats(logits: Tensor, images: Tensor) -> Tensor:
    """Bernoulli cross-entropy of each image [n] in [-1, 1]: the sum of softplus(l) - x l."""
    target = 0.5 * (images + 1)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).sum(1)


def pixel_means(logits: Tensor) -> Tensor:
    """The mean of each pixel as light in [-1, 1], from its logit: 2 sigmoid(l) - 1."""
    return torch.tanh(0.5 * logits)
