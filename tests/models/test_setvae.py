"""The VAE that hears a set, against what is computed by hand, and what it must not do."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from metasearch.algorithms import MAML, Joint
from metasearch.algorithms.base import MetaStep
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.models import SetVAE
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.conditions import conditioned
from metasearch.models.nets import Mlp
from metasearch.models.setvae import Average, Matching, _first
from metasearch.rng import Stream
from metasearch.tasks.base import Episodes
from tests.games import Blobs

SHAPE = (1, 8, 8)
READINGS = [Average(), Matching()]


def made(reading, **settings):
    family = SetVAE(latent=3, features=8, net=Mlp(hidden=16), reading=reading, **settings)
    learner = Learner.create(family, SHAPE, Stream(0))
    for net in learner.nets.values():
        net.double()
    return learner


def batch(n=4, k=3):
    make = Stream(1).torch()
    pixels = torch.rand(n, 1 + k, *SHAPE, generator=make, dtype=torch.float64) * 2 - 1
    heard = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    return {
        "x": pixels[:, 0],
        "given": pixels[:, 1:],
        "heard": heard[:n, :k],
        "set": torch.arange(n),
    }


def by_hand(learner, row, z=None):
    """The prior's, the posterior's and (at z) the decoder's answer for one row, image by image."""
    nets, family = learner.nets, learner.family
    one = torch.ones(1, 1, dtype=torch.float64)
    memory = [nets["learned"](one)[0]]
    for image, heard in zip(row["given"], row["heard"], strict=True):
        if heard:
            memory.append(nets["encoder"](image[None])[0])
    memory = torch.stack(memory)

    def read(ask, of):
        if isinstance(family.reading, Average):
            return memory.mean(0)
        answers = memory @ nets[ask](of[None])[0] / math.sqrt(8)
        weights = answers.exp() / answers.exp().sum()
        return weights @ memory

    seen = nets["encoder"](row["x"][None])[0]
    prior = nets["prior"](read("ask_prior", one[0]))
    posterior = nets["posterior"](torch.cat([seen, read("ask_posterior", seen)]))
    p, q = (Normal(v[:3], (0.5 * v[3:]).exp()) for v in (prior, posterior))
    if z is None:
        return p, q, None
    return p, q, nets["decoder"](torch.cat([z, read("ask_decoder", z)])[None])[0]


def nats(logits, image):
    p, t = torch.sigmoid(logits), (image + 1) / 2
    return -(t * p.log() + (1 - t) * (1 - p).log()).sum()


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: r.name)
def test_the_loss_is_cross_entropy_plus_the_kl_to_the_prior_of_the_set(reading):
    learner = made(reading, beta=0.5, all_heard=True)
    family, data = learner.family, batch()
    noise = family.draw(data, Stream(2))
    got = family.loss("setvae", learner.nets, data, noise)
    for i in range(4):
        row = {name: x[i] for name, x in data.items()}
        p, q, _ = by_hand(learner, row)
        z = q.mean + q.stddev * noise["eps"][i, 0]
        logits = by_hand(learner, row, z)[2]
        want = nats(logits, row["x"]) + 0.5 * kl_divergence(q, p).sum()
        torch.testing.assert_close(got[i], want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: r.name)
def test_the_likelihood_is_the_importance_weighted_bound_under_the_prior_of_the_set(reading):
    learner = made(reading)
    family, data = learner.family, batch()
    noise = family.draw(data, Stream(2), samples=4)
    got = family.log_likelihood(learner.nets, data, noise)
    for i in range(4):
        row = {name: x[i] for name, x in data.items()}
        p, q, _ = by_hand(learner, row)
        weights = []
        for eps in noise["eps"][i]:
            z = q.mean + q.stddev * eps
            logits = by_hand(learner, row, z)[2]
            ratio = p.log_prob(z).sum() - q.log_prob(z).sum()
            weights.append(ratio - nats(logits, row["x"]))
        want = torch.stack(weights).logsumexp(0) - math.log(4)
        torch.testing.assert_close(got[i], want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: r.name)
def test_more_samples_tighten_the_bound(reading):
    learner = made(reading)
    family, data = learner.family, batch()
    bounds = []
    for samples in (1, 8, 64):
        draws = [family.draw(data, Stream(i), samples=samples) for i in range(12)]
        found = [family.log_likelihood(learner.nets, data, noise) for noise in draws]
        bounds.append(torch.stack(found).mean())
    assert bounds[0] < bounds[1] < bounds[2]


def test_in_training_every_size_of_a_set_is_heard_equally_often_and_none_that_is_not_heard():
    heard = torch.tensor([[1, 0, 1, 1]], dtype=torch.bool).expand(4000, -1)
    found = _first(heard, torch.rand(4000, generator=Stream(0).torch()))
    assert not (found & ~heard).any()
    sizes = found.sum(1)
    assert all(abs(float((sizes == n).float().mean()) - 0.25) < 0.03 for n in range(4))
    assert (found[sizes == 1][:, 0]).all()  # the first ones come first


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: r.name)
def test_the_batched_engine_finds_what_the_loop_finds(reading):
    learner = made(reading)
    family, make = learner.family, Stream(3).torch()

    def images(n):
        return {"x": torch.rand(2 * n, *SHAPE, generator=make, dtype=torch.float64) * 2 - 1}

    episodes = Episodes(("g/a", "g/b"), images(3), images(2), images(0))
    noise = noise_per_task(family, Stream(1), episodes.tasks)
    for algorithm in (MAML(inner=InnerLoop(steps=2)), Joint()):
        one, two = (
            algorithm.meta_gradient(MetaStep(engine, learner), episodes, noise)
            for engine in (Loop(), Batched())
        )
        for name, value in one.values.items():
            torch.testing.assert_close(two.values[name], value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("reading", READINGS, ids=lambda r: r.name)
def test_after_joint_training_hearing_its_own_class_helps_and_another_class_hurts(reading):
    data = Blobs()
    family = SetVAE(latent=4, features=16, net=Mlp(hidden=32), reading=reading)
    learner = Learner.create(family, data.shape, Stream(0))
    optimizer = torch.optim.Adam(learner.parameters().values(), lr=5e-3)
    tasks = data.tasks("train")
    for step in range(150):
        rng = Stream(5).at(step)
        episodes = data.episodes(tasks, shot=3, query=3, rng=rng)
        noise = noise_per_task(family, rng, tasks)
        found = Joint().meta_gradient(MetaStep(Batched(), learner), episodes, noise)
        for name, p in learner.parameters().items():
            p.grad = found.values[name]
        optimizer.step()
    query = dict(conditioned(family, data.episodes(tasks, shot=3, query=4, rng=Stream(6))).query)
    noise = family.draw(query, Stream(7), samples=8)

    def score(**changes):
        with torch.no_grad():
            told = {**query, **changes}
            return -family.log_likelihood(learner.nets, told, noise).mean()

    own, deaf = score(), score(heard=torch.zeros_like(query["heard"]))
    other = score(given=query["given"].roll(4, 0))
    assert own < deaf - 0.5
    assert other > own + 1.0
