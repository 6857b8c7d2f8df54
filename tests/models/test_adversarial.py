"""Losses of games against values computed by hand and finite differences; the penalties' traps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metasearch.models import GAN
from metasearch.models.adversarial import (
    LOSSES,
    Hinge,
    LeastSquares,
    NonSaturating,
    SeedLiteral,
    Wasserstein,
    cross_entropy,
    gradient_penalty,
    r1_penalty,
)
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.nets import Mlp
from metasearch.rng import Stream

X = torch.rand(5, 1, 4, 4, generator=Stream(0).torch(), dtype=torch.float64) * 2 - 1
Y = torch.rand(5, 1, 4, 4, generator=Stream(1).torch(), dtype=torch.float64) * 2 - 1
MIX = torch.rand(5, 1, 1, 1, generator=Stream(2).torch(), dtype=torch.float64)
RGB = torch.rand(5, 3, 4, 4, generator=Stream(3).torch(), dtype=torch.float64) * 2 - 1


class Linear(nn.Module):
    """w'x: the critic whose penalty has a closed form."""

    def __init__(self, pixels=16):
        super().__init__()
        make = Stream(3).torch()
        self.w = nn.Parameter(torch.randn(pixels, generator=make, dtype=torch.float64))

    def forward(self, x):
        return x.flatten(1) @ self.w


def small_critic():
    """A critic of two layers, in double precision."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=Stream(9).torch(), dtype=p.dtype)
    return net


def saying(logits):
    """A critic that answers given numbers, whatever it sees, still with a path to the image."""
    return lambda x: logits + 0 * x.flatten(1).sum(1)


def agrees_with_finite_differences(value, weight, places, h=1e-6):
    (got,) = torch.autograd.grad(value(), weight)
    for at in places:
        centre = weight.data[at].item()
        ends = []
        for sign in (1, -1):
            weight.data[at] = centre + sign * h
            ends.append(value().item())
        weight.data[at] = centre
        want = (ends[0] - ends[1]) / (2 * h)
        assert got[at].item() == pytest.approx(want, rel=1e-4, abs=1e-7)


def test_the_penalty_of_a_linear_critic_is_exact_over_the_whole_image():
    critic = Linear()
    want = (critic.w.norm() - 1) ** 2
    torch.testing.assert_close(gradient_penalty(critic, X, Y, MIX), want.expand(5))
    whole = Wasserstein().critic(critic, X, Y, MIX)
    torch.testing.assert_close(whole, critic(Y) - critic(X) + 10 * want)


def test_the_penalty_as_figr_has_it_takes_a_norm_at_each_pixel_over_its_channels():
    critic = Linear(48)
    by_pixel = critic.w.reshape(3, 16).square().sum(0).sqrt()
    want = ((by_pixel - 1) ** 2).mean()
    got = gradient_penalty(critic, RGB, -RGB, MIX, by_pixel=True)
    torch.testing.assert_close(got, want.expand(5))
    faithful = Wasserstein(gp_axis="channel_figr", penalty=2.0)
    both = critic(-RGB) - critic(RGB) + 2 * want
    torch.testing.assert_close(faithful.critic(critic, RGB, -RGB, MIX), both)


def test_figrs_penalty_rests_where_the_slope_of_an_image_is_the_root_of_its_pixels():
    critic = Linear()
    critic.w.data = torch.ones(16, dtype=torch.float64)
    assert gradient_penalty(critic, X, Y, MIX, by_pixel=True).abs().max() < 1e-12
    assert gradient_penalty(critic, X, Y, MIX)[0].item() == pytest.approx((4 - 1) ** 2)


def test_r1_of_a_linear_critic_is_half_its_weight_times_the_squared_norm():
    critic = Linear()
    want = 0.5 * 3.0 * critic.w.square().sum()
    torch.testing.assert_close(r1_penalty(critic, X, 3.0), want.expand(5))
    for loss in (NonSaturating, Hinge, LeastSquares):
        gap = loss(r1=3.0).critic(critic, X, Y, MIX) - loss(r1=0).critic(critic, X, Y, MIX)
        torch.testing.assert_close(gap, want.expand(5))


@pytest.mark.parametrize("loss", [
    Wasserstein(), Wasserstein(gp_axis="channel_figr"), NonSaturating(r1=2.0), Hinge(r1=2.0),
    LeastSquares(r1=2.0), SeedLiteral(), SeedLiteral(adjust="cross_entropy"),
], ids=str)  # fmt: skip
def test_every_critics_loss_agrees_with_finite_differences_in_its_weights(loss):
    net = small_critic()

    def value():
        return loss.critic(lambda x: net(x).squeeze(1), X, Y, MIX).sum()

    agrees_with_finite_differences(value, net[1].weight, [(0, 0), (2, 7), (3, 15)])


def test_the_penalties_are_finite_in_their_derivative_where_the_slope_is_zero():
    critic = Linear()
    critic.w.data.zero_()
    for value in (gradient_penalty(critic, X, Y, MIX), r1_penalty(critic, X, 1.0)):
        (steep,) = torch.autograd.grad(value.sum(), critic.w)
        assert steep.isfinite().all()


def test_the_penalties_can_be_read_without_a_graph():
    with torch.no_grad():
        assert gradient_penalty(Linear(), X, Y, MIX).isfinite().all()
        assert r1_penalty(Linear(), X, 1.0).isfinite().all()


def test_a_blind_critic_pays_two_ln_two_and_its_generator_ln_two():
    blind = saying(torch.zeros(5, dtype=torch.float64))
    for loss in (NonSaturating(r1=0), SeedLiteral()):
        got = loss.critic(blind, X, Y, MIX)
        torch.testing.assert_close(got, torch.full((5,), 2 * math.log(2), dtype=torch.float64))
        assert loss.generator(blind(X))[0].item() == pytest.approx(math.log(2), abs=1e-12)


def test_cross_entropy_at_chance_is_ln_two_and_half_of_what_the_critic_descends():
    zero = torch.zeros(7)
    assert cross_entropy(zero, zero).item() == pytest.approx(0.693147, abs=1e-6)
    real, fake = Linear()(X), Linear()(Y)
    own = NonSaturating(r1=0).critic(Linear(), X, Y, MIX).mean()
    torch.testing.assert_close(2 * cross_entropy(real, fake), own)
    literal = SeedLiteral(adjust="cross_entropy").critic(Linear(), X, Y, MIX).mean()
    torch.testing.assert_close(cross_entropy(real, fake), literal)


@pytest.mark.parametrize(
    ("real", "fake", "hinge", "squares"),
    [(0.0, 0.0, 2.0, 0.5), (3.0, -3.0, 0.0, 6.5), (0.5, 0.25, 1.75, 0.15625), (-2.0, 2.0, 6.0, 6.5)],
)  # fmt: skip
def test_hinge_and_least_squares_are_what_is_computed_by_hand(real, fake, hinge, squares):
    def critic(x):
        return torch.where(x.flatten(1).sum(1) > 0, real, fake).double()

    ones = torch.ones(2, 1, 4, 4, dtype=torch.float64)
    mix = MIX[:2]
    assert Hinge(r1=0).critic(critic, ones, -ones, mix).tolist() == pytest.approx([hinge] * 2)
    assert LeastSquares(r1=0).critic(critic, ones, -ones, mix).tolist() == pytest.approx(
        [squares] * 2
    )
    assert Hinge().generator(critic(-ones)).tolist() == pytest.approx([-fake] * 2)
    want = [0.5 * (fake - 1) ** 2] * 2
    assert LeastSquares().generator(critic(-ones)).tolist() == pytest.approx(want)


def test_beyond_its_margin_the_hinge_is_flat():
    logits = torch.tensor([2.0, 2.0, 0.5, -3.0, 0.0], dtype=torch.float64, requires_grad=True)
    value = Hinge(r1=0).critic(saying(logits), X, Y, MIX).sum()
    (got,) = torch.autograd.grad(value, logits)
    assert got.tolist() == [1.0, 1.0, 0.0, -1.0, 0.0]  # of max(0, 1 - l) + max(0, 1 + l)


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_of_generators_agree_with_finite_differences(name):
    scores = torch.randn(5, generator=Stream(5).torch(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LOSSES[name]().generator, scores)


def descended(family, steps=1, lr=0.05):
    """The critic's mean logit of fakes, before and after a generator's moves."""
    learner = Learner.create(family, (1, 4, 4), Stream(0))
    batch = {"x": X.float()}
    noise = family.draw(batch, Stream(1))

    def opinion():
        with torch.no_grad():
            images = family.generate(learner.nets, batch, noise)["x"]
            return float(learner.nets["discriminator"](images).mean())

    before = opinion()
    own = list(learner.nets["generator"].parameters())
    for _ in range(steps):
        loss = family.loss("generator", learner.nets, batch, noise).mean()
        for p, g in zip(own, torch.autograd.grad(loss, own), strict=True):
            p.data -= lr * g
    return before, opinion()


@pytest.mark.parametrize("objective", [NonSaturating(), Hinge(), LeastSquares(), Wasserstein()], ids=str)  # fmt: skip
def test_a_generators_step_raises_the_critics_opinion_of_its_images(objective):
    before, after = descended(GAN(latent=3, net=Mlp(hidden=8), objective=objective))
    assert after > before


def test_a_generator_that_descends_the_cross_entropy_helps_its_critic():
    """Why the founding text's L_CE is a score of a fresh critic and not what players descend."""
    literal = SeedLiteral(adjust="cross_entropy")
    before, after = descended(GAN(latent=3, net=Mlp(hidden=8), objective=literal), steps=3)
    assert after < before


def test_the_literal_formulas_draw_one_latent_for_all_images_of_a_loss_and_many_for_samples():
    family = GAN(latent=3, net=Mlp(hidden=8), objective=SeedLiteral())
    batch = {"x": X.float()}
    noise = noise_per_task(family, Stream(1), ["a"])(batch)
    assert (noise["one"] == noise["one"][0]).all()
    assert len({tuple(row) for row in noise["z"].tolist()}) == 5
    learner = Learner.create(family, (1, 4, 4), Stream(0))
    one = family.loss("generator", learner.nets, batch, noise)
    torch.testing.assert_close(one, one[:1].expand(5))
    plain = GAN(latent=3, net=Mlp(hidden=8))
    same = {"z": noise["one"], "mix": noise["mix"]}
    torch.testing.assert_close(one, plain.loss("generator", learner.nets, batch, same))
    assert "one" not in plain.draw(batch, Stream(1))


def test_the_players_take_as_many_turns_as_asked_the_critic_first():
    family = GAN(critic_steps=2, generator_steps=3)
    assert family.turns == ("discriminator",) * 2 + ("generator",) * 3
