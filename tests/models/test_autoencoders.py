"""VAE-GAN, AAE and the literal VAE: each player's loss by hand, and whose weights it moves."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from metasearch.algorithms import MAML
from metasearch.algorithms.base import MetaStep
from metasearch.engine import Loop
from metasearch.engine.base import InnerLoop
from metasearch.models import AAE, VAE, VAEGAN
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.gaussian import Gaussian, importance_bound, pixel_nats
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.tasks.base import Episodes

SHAPE = (1, 4, 4)
X = torch.rand(5, *SHAPE, generator=Stream(0).torch(), dtype=torch.float64) * 2 - 1
GAMES = {
    "vaegan": VAEGAN(latent=2, features=3, net=Mlp(hidden=6), gamma=0.3, beta=0.7, pixels=0.2),
    "aae": AAE(latent=2, net=Mlp(hidden=6), hidden=5, weight=4.0),
    "seed": VAE(latent=2, net=Mlp(hidden=6), objective="seed_literal"),
}


def made(family):
    learner = Learner.create(family, SHAPE, Stream(0))
    for net in learner.nets.values():
        net.double()
    batch = {"x": X}
    return learner, batch, family.draw(batch, Stream(1))


def coded(nets, noise):
    mean, logvar = nets["encoder"](X).chunk(2, 1)
    return Normal(mean, (0.5 * logvar).exp()), mean + noise["eps"][:, 0] * (0.5 * logvar).exp()


def light(logits):
    return 2 * torch.sigmoid(logits) - 1


def test_the_three_losses_of_a_vaegan_are_those_of_the_paper():
    learner, batch, noise = made(GAMES["vaegan"])
    nets = learner.nets
    posterior, code = coded(nets, noise)
    logits = nets["decoder"](code)
    rebuilt, drawn = light(logits), light(nets["decoder"](noise["z"]))

    def d(images):  # the discriminator's probability
        return torch.sigmoid(nets["verdict"](nets["trunk"](images)))

    features = Normal(nets["trunk"](rebuilt), 1.0)
    constant = 0.5 * 3 * math.log(2 * math.pi)
    error = -features.log_prob(nets["trunk"](X)).sum(1) - constant + 0.2 * pixel_nats(logits, X)
    kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
    want = {
        "encoder": 0.7 * kl + error,
        "decoder": 0.3 * error - d(rebuilt).log() - d(drawn).log(),
        "discriminator": -(d(X).log() + (1 - d(rebuilt)).log() + (1 - d(drawn)).log()),
    }
    for player, loss in want.items():
        got = learner.family.loss(player, nets, batch, noise)
        torch.testing.assert_close(got, loss, msg=player)


def test_the_two_losses_of_an_aae_are_those_of_the_paper():
    learner, batch, noise = made(GAMES["aae"])
    nets = learner.nets
    _, code = coded(nets, noise)
    real, fake = (torch.sigmoid(nets["critic"](z)) for z in (noise["z"], code))
    got = {p: learner.family.loss(p, nets, batch, noise) for p in learner.family.players}
    torch.testing.assert_close(got["critic"], -real.log() - (1 - fake).log())
    want = pixel_nats(nets["decoder"](code), X) - 4.0 * fake.log()
    torch.testing.assert_close(got["autoencoder"], want)


def test_a_blind_critic_of_codes_pays_two_ln_two():
    learner, batch, noise = made(GAMES["aae"])
    blind = {**learner.nets, "critic": lambda z: z.new_zeros(len(z))}
    got = learner.family.loss("critic", blind, batch, noise)
    torch.testing.assert_close(got, torch.full_like(got, 2 * math.log(2)))


def test_the_literal_losses_are_the_texts_and_stay_finite_where_probabilities_would_not():
    learner, batch, noise = made(GAMES["seed"])
    nets, family = learner.nets, learner.family
    mean = nets["encoder"](X).chunk(2, 1)[0]
    code, drawn = (
        torch.sigmoid(nets["scorer"](light(nets["decoder"](z)))) for z in (mean, noise["z"])
    )
    torch.testing.assert_close(family.loss("encoder", nets, batch, noise), -code.log())
    want = -(code.log() + (1 - drawn).log())
    torch.testing.assert_close(family.loss("decoder", nets, batch, noise), want)
    sure = {**nets, "scorer": lambda x: 1e4 * x.flatten(1).mean(1)}
    for player, own in family.players.items():
        loss = family.loss(player, sure, batch, noise).mean()
        weights = [p for net in own if net in nets for p in nets[net].parameters()]
        slopes = torch.autograd.grad(loss, weights, allow_unused=True)
        assert loss.isfinite() and all(g is None or g.isfinite().all() for g in slopes)


def test_taken_literally_nobody_hears_whether_an_image_was_rebuilt():
    """Why it is an ablation: two images of one code are one image to it."""
    learner, _, noise = made(GAMES["seed"])
    family = learner.family
    code = torch.randn(5, 4, generator=Stream(6).torch(), dtype=torch.float64)
    nets = {**learner.nets, "encoder": lambda x: code}
    for player in family.players:
        one, two = (family.loss(player, nets, {"x": x}, noise) for x in (X, -X))
        assert torch.equal(one, two)


@pytest.mark.parametrize("game", GAMES)
def test_a_step_of_one_player_moves_its_own_nets_alone(game):
    learner, batch, noise = made(GAMES[game])
    family = learner.family
    for player, own in family.players.items():
        adapted = Loop().open(learner, 1, InnerLoop(lr=0.1, clip=0))
        start = adapted.state(0)
        adapted.step(player, family.loss(player, adapted.nets, batch, noise))
        moved = {
            n.split(".")[0] for n, p in adapted.state(0).items() if not torch.equal(p, start[n])
        }
        assert moved <= set(own) and moved


@pytest.mark.parametrize("game", GAMES)
def test_to_second_order_no_path_runs_through_another_players_inner_steps(game):
    """A player's meta-gradient is the same if the others' inner steps are cut off from it."""
    learner, _, _ = made(GAMES[game])
    family = learner.family
    support, query = ({"x": x} for x in (X[:3], X[3:]))
    episodes = Episodes(("g/t",), support, query, {"x": X[:0]})
    noise = noise_per_task(family, Stream(1), episodes.tasks)
    inner = InnerLoop(steps=2, lr=0.05, clip=0)
    found = MAML(inner=inner).meta_gradient(MetaStep(Loop(), learner), episodes, noise).values
    for player in family.players:
        mine = [n for n in learner.parameters() if learner.owner(n) == player]
        adapted = Loop().open(learner, 1, inner, order=2)
        for k in range(inner.steps):
            for turn, mover in enumerate(family.turns):
                loss = family.loss(mover, adapted.nets, support, noise(support, "inner", k, turn))
                adapted.step(mover, loss)
                if mover != player:  # cut
                    (fast,) = adapted._fast
                    for name in fast:
                        if learner.owner(name) == mover:
                            fast[name] = fast[name].detach().requires_grad_()
        losses = {player: family.loss(player, adapted.nets, query, noise(query, "outer", player))}
        cut = adapted.meta_gradient(losses, 2).values
        for name in mine:
            torch.testing.assert_close(found[name], cut[name], rtol=1e-9, atol=1e-12)


def test_the_kl_between_gaussians_is_torchs():
    make = Stream(3).torch()
    a, b = (Gaussian(*torch.randn(2, 5, 4, generator=make, dtype=torch.float64)) for _ in range(2))
    one, two = (Normal(g.mean, (0.5 * g.logvar).exp()) for g in (a, b))
    torch.testing.assert_close(a.kl(b), kl_divergence(one, two).sum(1))
    torch.testing.assert_close(a.kl(), kl_divergence(one, Normal(0.0, 1.0)).sum(1))
    zero = torch.zeros_like(b.mean)
    torch.testing.assert_close(a.kl(Gaussian(zero, zero)), a.kl())


def test_the_bound_reaches_the_exact_likelihood_with_any_proposal():
    """One latent, a linear decoder: log p(x) by quadrature."""
    weight = torch.linspace(-2, 2, 16, dtype=torch.float64)
    decode = lambda z: (z @ weight[None]).reshape(-1, *SHAPE)  # noqa: E731
    x = torch.where(X > 0, 1.0, -1.0)
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    prior = Normal(torch.tensor(0.3, dtype=torch.float64), 0.8)
    joint = torch.stack([-pixel_nats(decode(grid), image.expand(4001, *SHAPE)) for image in x])
    exact = (joint + prior.log_prob(grid[:, 0])).logsumexp(1) + math.log(16 / 4000)
    p = Gaussian(torch.full((5, 1), 0.3).double(), torch.full((5, 1), 2 * math.log(0.8)).double())
    q = Gaussian(torch.full((5, 1), 0.1).double(), torch.full((5, 1), 0.4).double())
    eps = torch.randn(5, 20000, 1, generator=Stream(4).torch(), dtype=torch.float64)
    torch.testing.assert_close(importance_bound(decode, x, eps, q, p), exact, rtol=0, atol=0.05)
    assert (importance_bound(decode, x, eps[:, :1], q, p)).shape == (5,)


@pytest.mark.parametrize("game", GAMES)
def test_codes_are_means_and_reconstructions_are_what_they_are_decoded_to(game):
    learner, batch, _ = made(GAMES[game])
    code = learner.family.encode(learner.nets, batch)
    torch.testing.assert_close(code, learner.nets["encoder"](X)[:, :2])
    rebuilt = learner.family.reconstruct(learner.nets, batch)["x"]
    torch.testing.assert_close(rebuilt, light(learner.nets["decoder"](code)))
    assert F.mse_loss(rebuilt, rebuilt.clamp(-1, 1)) == 0
