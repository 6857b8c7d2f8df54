"""Losses against values computed by hand."""

from __future__ import annotations

import math

import torch

from metasearch.models import VAE
from metasearch.models.base import Learner
from metasearch.models.nets import Mlp
from metasearch.models.vae import pixel_nats
from metasearch.rng import Stream

X = torch.rand(5, 1, 4, 4, generator=Stream(0).torch(), dtype=torch.float64) * 2 - 1


def test_the_vae_loss_is_cross_entropy_plus_the_gaussian_kl():
    learner = Learner.create(VAE(latent=2, net=Mlp(hidden=4), beta=0.5), (1, 4, 4), Stream(0))
    family, batch = learner.family, {"x": X.float()}
    noise = family.draw(batch, Stream(1))
    mean, logvar = learner.nets["encoder"](batch["x"]).chunk(2, 1)
    posterior = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1)
    z = mean + noise["eps"][:, 0] * (0.5 * logvar).exp()
    p = torch.sigmoid(learner.nets["decoder"](z)).flatten(1)
    t = (batch["x"].flatten(1) + 1) / 2
    nats = -(t * p.log() + (1 - t) * (1 - p).log()).sum(1)
    torch.testing.assert_close(family.loss("vae", learner.nets, batch, noise), nats + 0.5 * kl)


def test_one_importance_sample_is_a_sampled_bound_and_more_samples_tighten_it():
    learner = Learner.create(VAE(latent=2, net=Mlp(hidden=4)), (1, 4, 4), Stream(0))
    family, batch = learner.family, {"x": X.float()}
    noise = family.draw(batch, Stream(1), samples=512)
    singles = torch.stack(
        [
            family.log_likelihood(learner.nets, batch, {"eps": noise["eps"][:, i : i + 1]})
            for i in range(512)
        ]
    )
    many = family.log_likelihood(learner.nets, batch, noise)
    torch.testing.assert_close(
        many, torch.logsumexp(singles, 0) - math.log(512), rtol=1e-4, atol=1e-4
    )
    elbo = -family.loss("vae", learner.nets, batch, noise)
    assert (many > singles.mean(0)).all()
    assert elbo.shape == many.shape


def test_the_gradient_of_pixel_nats_agrees_with_finite_differences():
    logits = torch.randn(5, 1, 4, 4, generator=Stream(4).torch(), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: pixel_nats(x, X), logits.requires_grad_())
