"""Losses against values computed by hand, and the gradient penalty's traps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metasearch.errors import ConfigError
from metasearch.models import GAN, VAE
from metasearch.models.base import Learner
from metasearch.models.gan import NonSaturating, Wasserstein, gradient_penalty
from metasearch.models.nets import Conv, Mlp
from metasearch.models.vae import pixel_nats
from metasearch.rng import Stream

X = torch.rand(5, 1, 4, 4, generator=Stream(0).torch(), dtype=torch.float64) * 2 - 1
Y = torch.rand(5, 1, 4, 4, generator=Stream(1).torch(), dtype=torch.float64) * 2 - 1
MIX = torch.rand(5, 1, 1, 1, generator=Stream(2).torch(), dtype=torch.float64)


class Linear(nn.Module):
    """w'x: the critic whose penalty has a closed form."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(16, generator=Stream(3).torch(), dtype=torch.float64))

    def forward(self, x):
        return x.flatten(1) @ self.w


def test_the_penalty_of_a_linear_critic_is_exact_over_the_whole_image():
    critic = Linear()
    want = (critic.w.norm() - 1) ** 2
    got = gradient_penalty(critic, X, Y, MIX)
    torch.testing.assert_close(got, want.expand(5))


def test_the_penalty_agrees_with_finite_differences_in_the_critics_weights():
    torch_net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    for p in torch_net.parameters():
        p.data = torch.randn(p.shape, generator=Stream(9).torch(), dtype=p.dtype)

    def value() -> torch.Tensor:
        return gradient_penalty(lambda x: torch_net(x).squeeze(1), X, Y, MIX).sum()

    weight = torch_net[1].weight
    (got,) = torch.autograd.grad(value(), weight)
    h = 1e-6
    for i, j in ((0, 0), (2, 7), (3, 15)):
        centre = weight.data[i, j].item()
        weight.data[i, j] = centre + h
        up = value().item()
        weight.data[i, j] = centre - h
        down = value().item()
        weight.data[i, j] = centre
        assert got[i, j].item() == pytest.approx((up - down) / (2 * h), rel=1e-4, abs=1e-7)


def test_the_penalty_is_finite_in_its_derivative_where_the_slope_is_zero():
    critic = Linear()
    critic.w.data.zero_()
    (slope,) = torch.autograd.grad(gradient_penalty(critic, X, Y, MIX).sum(), critic.w)
    assert slope.isfinite().all()


def test_the_penalty_can_be_read_without_a_graph():
    with torch.no_grad():
        assert gradient_penalty(Linear(), X, Y, MIX).isfinite().all()


def test_a_blind_discriminator_pays_two_ln_two_and_its_generator_ln_two():
    blind = lambda x: torch.zeros(x.shape[0], dtype=torch.float64)  # noqa: E731
    loss = NonSaturating()
    got = loss.critic(blind, X, Y, MIX)
    torch.testing.assert_close(got, torch.full((5,), 2 * math.log(2), dtype=torch.float64))
    assert loss.generator(blind(X))[0].item() == pytest.approx(math.log(2), abs=1e-12)


def test_losses_take_logits_not_probabilities():
    """A sure and right critic pays nothing, and a sure and wrong one has a slope of nearly one."""
    loss = NonSaturating()
    logit = torch.tensor([-6.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss.generator(logit).sum(), logit)
    assert slope.item() == pytest.approx(-0.9975, abs=1e-4)
    assert loss.generator(torch.tensor([20.0], dtype=torch.float64)).item() < 1e-8


def test_a_generator_step_raises_the_discriminators_opinion_of_its_images():
    learner = Learner.create(GAN(latent=3, net=Mlp(hidden=8)), (1, 4, 4), Stream(0))
    family, batch = learner.family, {"x": X.float()}
    noise = family.draw(batch, Stream(1))

    def opinion() -> float:
        with torch.no_grad():
            return float(
                learner.nets["discriminator"](
                    family.generate(learner.nets, batch, noise)["x"]
                ).mean()
            )

    before = opinion()
    own = list(learner.nets["generator"].parameters())
    loss = family.loss("generator", learner.nets, batch, noise).mean()
    for p, g in zip(own, torch.autograd.grad(loss, own), strict=True):
        p.data -= 0.05 * g
    assert opinion() > before


def test_the_wasserstein_critic_is_fake_minus_real_plus_penalty():
    critic, loss = Linear(), Wasserstein(penalty=3.0)
    want = critic(Y) - critic(X) + 3.0 * (critic.w.norm() - 1) ** 2
    torch.testing.assert_close(loss.critic(critic, X, Y, MIX), want)


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


def test_a_size_that_cannot_be_halved_is_refused_with_what_would_do():
    with pytest.raises(ConfigError, match="16, 28, 32 or 64"):
        Conv().encoder((1, 30, 30), 4)


def test_the_gradients_of_all_losses_agree_with_finite_differences():
    logits = torch.randn(5, 1, 4, 4, generator=Stream(4).torch(), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: pixel_nats(x, X), logits.requires_grad_())
    scores = torch.randn(5, generator=Stream(5).torch(), dtype=torch.float64, requires_grad=True)
    for loss in (NonSaturating(), Wasserstein()):
        assert torch.autograd.gradcheck(loss.generator, scores)
    assert torch.autograd.gradcheck(
        lambda s: NonSaturating().critic(lambda x: s * x.flatten(1).sum(1), X, Y, MIX), scores
    )
