"""Meta-gradients of games against what is written out by hand, and against finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from metasearch.algorithms import MAML
from metasearch.algorithms.base import MetaStep, outer_losses, seen_by
from metasearch.algorithms.bilevel import drawing_players
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.models import GAN, VAE
from metasearch.models.adversarial import NonSaturating
from metasearch.models.base import Learner, cycled, noise_per_task
from metasearch.models.discrepancy import image_mmd
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.tasks.base import Episodes
from tests.games import adapt

INNER = InnerLoop(steps=3, lr=0.2, clip=0)


@pytest.fixture(params=[Loop(), Batched()], ids=["loop", "batched"])
def engine(request):
    return request.param


def game(r1=0.0):
    family = GAN(latent=2, net=Mlp(hidden=6), objective=NonSaturating(r1=r1))
    learner = Learner.create(family, (1, 4, 4), Stream(1).at("init"))
    for net in learner.nets.values():
        net.double()
    return learner


def images(tasks=2, shot=3, query=4):
    make = Stream(2).torch()

    def draw(n):
        return {"x": torch.rand(tasks * n, 1, 4, 4, generator=make, dtype=torch.float64) * 2 - 1}

    return Episodes(tuple(f"g/{i}" for i in range(tasks)), draw(shot), draw(query), draw(0))


def noise_of(learner, episodes):
    return noise_per_task(learner.family, Stream(3), episodes.tasks)


def found(algorithm, learner, episodes, engine):
    noise = noise_of(learner, episodes)
    return algorithm.meta_gradient(MetaStep(engine, learner), episodes, noise)


class ByHand:
    """One task's game, unrolled with torch alone."""

    def __init__(self, learner, episodes, task, *, through):
        self.learner, self.through, self.task = learner, through, task
        self.tasks = len(episodes.tasks)
        self.episodes = episodes
        self.noise = noise_of(learner, episodes)
        self.start = {
            net: {k: p.detach().clone().requires_grad_() for k, p in module.named_parameters()}
            for net, module in learner.nets.items()
        }
        self.now = dict(self.start)

    def rows(self, x):
        return x.reshape(self.tasks, -1, *x.shape[1:])[self.task]

    def net(self, name, x):
        return functional_call(self.learner.nets[name], self.now[name], (x,))

    def drawn(self, noise):
        return torch.tanh(self.net("generator", self.rows(noise["z"])))

    def loss(self, player, batch, noise):
        fake = self.drawn(noise)
        if player == "generator":
            return F.softplus(-self.net("discriminator", fake)).mean()
        fake = fake if self.through else fake.detach()
        real = self.rows(batch["x"])
        logits = self.net("discriminator", real), self.net("discriminator", fake)
        steep = 0.0
        if weight := self.learner.family.objective.r1:
            point = real.detach().requires_grad_()
            said = self.net("discriminator", point).sum()
            (slope,) = torch.autograd.grad(said, point, create_graph=True)
            steep = 0.5 * weight * slope.square().sum((1, 2, 3))
        return (F.softplus(-logits[0]) + F.softplus(logits[1]) + steep).mean()

    def step(self, player, batch, noise):
        # Under new names, in which the others' weights do not hang on these ones.
        own = self.now[player] = {k: p.view_as(p) for k, p in self.now[player].items()}
        grads = torch.autograd.grad(
            self.loss(player, batch, noise), own.values(), create_graph=True
        )
        self.now[player] = {
            k: p - INNER.lr * g for (k, p), g in zip(own.items(), grads, strict=True)
        }

    def play(self):
        batch = self.episodes.support
        for k in range(INNER.steps):
            for turn, player in enumerate(("discriminator", "generator")):
                self.step(player, batch, self.noise(batch, "inner", k, turn))
        return self

    def of_start(self, value, player):
        grads = torch.autograd.grad(value, self.start[player].values(), retain_graph=True)
        names = (f"{player}.{name}" for name in self.start[player])
        return dict(zip(names, grads, strict=True))

    def meta_gradient(self):
        query = self.episodes.query
        result = {}
        for player in self.start:
            value = self.loss(player, query, self.noise(query, "outer", player))
            result |= self.of_start(value, player)
        return result


@pytest.mark.parametrize("r1", [0.0, 2.0], ids=["plain", "r1"])
@pytest.mark.parametrize("cross", ["stop", "through"])
def test_second_order_maml_of_a_game_is_the_unrolled_game(engine, cross, r1):
    learner, episodes = game(r1), images()
    got = found(MAML(inner=INNER, cross_player=cross), learner, episodes, engine).values
    hands = [
        ByHand(learner, episodes, task, through=cross == "through").play().meta_gradient()
        for task in range(2)
    ]
    for name, value in got.items():
        torch.testing.assert_close(value, (hands[0][name] + hands[1][name]) / 2, rtol=1e-8, atol=1e-12)  # fmt: skip


def test_through_is_the_total_derivative_and_stop_is_not():
    """Each player's own query loss, differentiated in its own start by finite differences."""
    learner, episodes = game(), images()
    noise = noise_of(learner, episodes)
    total = found(MAML(inner=INNER, cross_player="through"), learner, episodes, Loop()).values
    own = found(MAML(inner=INNER), learner, episodes, Loop()).values

    def outer(player):
        adapted = adapt(Loop(), learner, INNER, episodes.support, 2, noise)
        return float(outer_losses(adapted, episodes.query, noise)[player].mean().detach())

    h, differ = 1e-6, 0
    for name, p in learner.parameters().items():
        direction = torch.randn(p.shape, generator=Stream(5).at(name).torch(), dtype=p.dtype)
        centre = p.detach().clone()
        ends = []
        for sign in (1, -1):
            p.data.copy_(centre + sign * h * direction)
            ends.append(outer(learner.owner(name)))
        p.data.copy_(centre)
        want = (ends[0] - ends[1]) / (2 * h)
        assert float((total[name] * direction).sum()) == pytest.approx(want, rel=1e-4, abs=1e-7)
        differ += abs(float((own[name] * direction).sum()) - want) > 1e-3 * abs(want)
    assert differ > 3


def test_a_critic_meets_images_as_constants_and_a_generator_what_is_said_of_its_own():
    learner, batch = game(), images().support
    noise = learner.family.draw(batch, Stream(0))
    for player, other in (("discriminator", "generator"), ("generator", "discriminator")):
        nets = seen_by(player, learner.family, learner.nets)
        loss = learner.family.loss(player, nets, batch, noise).sum()
        theirs = list(learner.nets[other].parameters())
        grads = torch.autograd.grad(loss, theirs, allow_unused=True)
        assert all(g is None for g in grads) == (player == "discriminator")


def test_those_who_draw_are_told_from_those_who_teach():
    assert drawing_players(game()) == {"generator"}
    learner = Learner.create(VAE(latent=2, net=Mlp(hidden=4)), (1, 4, 4), Stream(0))
    assert drawing_players(learner) == {"vae"}


def test_a_query_critic_judges_the_generator_and_only_it(engine):
    """By hand: the critic's start, adapted to the query against what is now drawn."""
    learner, episodes = game(), images()
    own = found(MAML(inner=INNER, first_order=True), learner, episodes, engine)
    got = found(
        MAML(inner=INNER, first_order=True, outer="query_critic"), learner, episodes, engine
    )
    query, hands = episodes.query, []
    for task in range(2):
        hand = ByHand(learner, episodes, task, through=False).play()
        hand.now["discriminator"] = hand.start["discriminator"]
        for k in range(INNER.steps):
            hand.step("discriminator", query, hand.noise(query, "judge", k, 0))
        value = hand.loss("generator", query, hand.noise(query, "outer", "generator"))
        hands.append(torch.autograd.grad(value, hand.now["generator"].values()))
    for i, name in enumerate(hand.start["generator"]):
        want = (hands[0][i] + hands[1][i]) / 2
        torch.testing.assert_close(got.values[f"generator.{name}"], want, rtol=1e-8, atol=1e-12)
    for name, value in own.values.items():
        same = torch.allclose(got.values[name], value, rtol=1e-10)
        assert same == (learner.owner(name) == "discriminator"), name
    assert got.gradients == own.gradients + INNER.steps * len(query["x"])


def apart(learner, episodes, noise, engine=None, **opened):
    """MMD^2 of what is drawn after adaptation, [tasks]."""
    adapted = adapt(engine or Loop(), learner, INNER, episodes.support, 2, noise, **opened)
    given = cycled(episodes.support, 2, 4)
    drawn = learner.family.generate(adapted.nets, given, noise(given, "outer", "images"))["x"]
    return image_mmd(drawn, episodes.query["x"], 2)


def test_a_distance_judges_the_generator_and_leaves_the_critic_its_own_loss(engine):
    learner, episodes = game(), images()
    own = found(MAML(inner=INNER, first_order=True), learner, episodes, engine)
    got = found(MAML(inner=INNER, first_order=True, outer="mmd"), learner, episodes, engine)
    for name, value in own.values.items():
        same = torch.allclose(got.values[name], value, rtol=1e-10)
        assert same == (learner.owner(name) == "discriminator"), name
    want = apart(learner, episodes, noise_of(learner, episodes)).detach()
    torch.testing.assert_close(got.losses["generator"], want)
    assert got.gradients == own.gradients


@pytest.mark.parametrize("cross", ["stop", "through"])
def test_a_distance_is_differentiated_through_the_game(engine, cross):
    """In the generator's start always; in the critic's, which taught it, if paths run through."""
    learner, episodes = game(), images()
    noise = noise_of(learner, episodes)
    algorithm = MAML(inner=INNER, outer="mmd", cross_player=cross)
    got = found(algorithm, learner, episodes, engine).values
    h = 1e-5
    for name, p in learner.parameters().items():
        if cross == "stop" and name != "generator.0.weight":
            continue
        direction = torch.randn(p.shape, generator=Stream(5).at(name).torch(), dtype=p.dtype)
        centre = p.detach().clone()
        ends = []
        for sign in (1, -1):
            p.data.copy_(centre + sign * h * direction)
            ends.append(float(apart(learner, episodes, noise).mean().detach()))
        p.data.copy_(centre)
        want = (ends[0] - ends[1]) / (2 * h)
        value = float((got[name] * direction).sum())
        if cross == "through":
            assert value == pytest.approx(want, rel=1e-3, abs=1e-8), name
        else:  # the generator's way to the critic's lessons is cut
            assert value == pytest.approx(want, rel=0.5)
            assert value != pytest.approx(want, rel=3e-4)
