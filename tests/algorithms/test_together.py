"""One trajectory for several algorithms, mixtures of adapters, weights and sketches of tasks."""

from __future__ import annotations

import pytest
import torch

from metasearch.algorithms import MAML, Joint, Reptile
from metasearch.algorithms.base import Adapter, MetaStep
from metasearch.algorithms.mixture import MixtureAdapter
from metasearch.algorithms.together import together
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.models import GAN, VAE
from metasearch.models.base import (
    Learner,
    LikelihoodModel,
    noise_per_task,
    repeat_rows,
    shared_noise,
)
from metasearch.models.mixture import mixture_of
from metasearch.models.nets import Conv, Mlp
from metasearch.rng import Stream
from tests.games import Blobs

INNER = InnerLoop(steps=3, lr=0.02)
DATA = Blobs()


def learner(family=None):
    return Learner.create(family or VAE(latent=4, net=Mlp(hidden=12)), DATA.shape, Stream(0))


def episodes(n=4):
    return DATA.episodes(DATA.tasks("train")[:n], shot=3, query=4, rng=Stream(1))


def step_of(learned, engine=None, **settings):
    return MetaStep(engine or Batched(), learned, **settings)


def noise_of(learned):
    return shared_noise(learned.family, Stream(2).at("noise"))


def test_arms_with_one_inner_loop_are_read_off_one_trajectory():
    learned, given = learner(), episodes()
    arms = (MAML(inner=INNER, first_order=True), Reptile(inner=INNER), Joint(inner=INNER))
    found = together(arms, [step_of(learned)] * 3, given, noise_of(learned))
    maml = arms[0].meta_gradient(step_of(learned), given, noise_of(learned))
    for name, value in maml.values.items():
        torch.testing.assert_close(found[0].values[name], value)
    assert found[0].gradients == maml.gradients
    assert found[1].gradients == 0  # its way there was paid for
    joint = arms[2].meta_gradient(step_of(learned), given, noise_of(learned))
    assert found[2].gradients == joint.gradients


def test_another_inner_loop_is_run_for_itself():
    learned, given = learner(), episodes()
    other = InnerLoop(steps=2, lr=0.02)
    arms = (MAML(inner=INNER, first_order=True), Reptile(inner=other))
    found = together(arms, [step_of(learned)] * 2, given, noise_of(learned))
    alone = arms[1].meta_gradient(step_of(learned), given, noise_of(learned))
    for name, value in alone.values.items():
        torch.testing.assert_close(found[1].values[name], value)


CONV = Conv(width=4, smallest=4)
FAMILIES = [VAE(latent=4, net=Mlp(hidden=12)), VAE(latent=4, net=CONV), GAN(latent=4, net=CONV)]


@pytest.mark.parametrize("family", FAMILIES, ids=["mlp", "conv", "gan"])
def test_sketches_are_the_same_in_both_engines_and_keep_directions(family):
    learned, given = learner(family), episodes()
    reptile = Reptile(inner=INNER)
    one, two = (
        reptile.meta_gradient(step_of(learned, e, sketch=512), given, noise_of(learned)).sketch
        for e in (Batched(), Loop())
    )
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)
    adapted = Loop().open(learned, 4, INNER)
    noise = noise_of(learned)
    from metasearch.algorithms.base import all_images, inner_losses

    inner_losses(adapted, INNER, all_images(given), noise)
    start = learned.parameters()
    moved = torch.stack(
        [
            torch.cat([(start[n] - w).flatten() for n, w in adapted.state(t).items()])
            for t in range(4)
        ]
    ).detach()
    exact = torch.nn.functional.cosine_similarity(moved[:, None], moved[None], dim=2)
    found = torch.nn.functional.cosine_similarity(two[:, None], two[None], dim=2)
    assert float((exact - found).abs().max()) < 0.35


@pytest.mark.parametrize("engine", [Batched(), Loop()], ids=["batched", "loop"])
@pytest.mark.parametrize("family", FAMILIES, ids=["mlp", "conv", "gan"])
def test_joint_training_sketches_each_tasks_gradient_and_finds_the_same_mean(family, engine):
    learned, given = learner(family), episodes(3)
    joint, noise = Joint(inner=INNER), noise_of(learned)
    plain = joint.meta_gradient(step_of(learned, engine), given, noise)
    told = joint.meta_gradient(step_of(learned, engine, sketch=512), given, noise)
    assert told.gradients == plain.gradients
    for name, value in plain.values.items():
        torch.testing.assert_close(told.values[name], value, rtol=1e-4, atol=1e-5)
    each = [
        joint.meta_gradient(step_of(learned, engine), given.select([i]), _only(noise, i)).values
        for i in range(3)
    ]
    exact = torch.stack([torch.cat([g.flatten() for g in one.values()]) for one in each])
    exact = torch.nn.functional.cosine_similarity(exact[:, None], exact[None], dim=2)
    found = torch.nn.functional.cosine_similarity(told.sketch[:, None], told.sketch[None], dim=2)
    assert float((exact - found).abs().max()) < 0.35
    assert float((exact - exact.mean()).abs().max()) > 1e-3  # there are directions to keep


@pytest.mark.parametrize("engine", [Batched(), Loop()], ids=["batched", "loop"])
@pytest.mark.parametrize("algorithm", [Reptile, MAML, Joint])
def test_weights_make_the_mean_over_tasks_a_weighted_one(engine, algorithm):
    learned, given = learner(), episodes(3)
    settings = {"first_order": True} if algorithm is MAML else {}
    rule, noise = algorithm(inner=INNER, **settings), noise_of(learned)
    each = [
        rule.meta_gradient(step_of(learned, engine), given.select([i]), _only(noise, i)).values
        for i in range(3)
    ]
    weights = torch.tensor([0.5, 1.0, 1.5])
    whole = rule.meta_gradient(step_of(learned, engine, weights=weights), given, noise).values
    for name, value in whole.items():
        mean = sum(w * g[name] for w, g in zip(weights, each, strict=True)) / 3
        torch.testing.assert_close(value, mean, rtol=1e-3, atol=1e-5)


def _only(noise, i):
    from metasearch.models.base import noise_of_some

    return noise_of_some(noise, 3, [i])


def adapters():
    return tuple(
        Adapter(Learner.create(VAE(latent=n, net=Mlp(hidden=12)), DATA.shape, Stream(n)), INNER)
        for n in (3, 5)
    )


def adapted(adapter, given):
    noise = noise_per_task(adapter.learner.family, Stream(5), given.tasks)
    return adapter.adapt(Batched(), given.support, len(given.tasks), noise), noise


def test_a_mixture_with_all_weight_on_one_part_is_that_part():
    given, (first, second) = episodes(), adapters()
    whole, noise = adapted(MixtureAdapter((first, second), (1.0, 0.0)), given)
    alone, own = adapted(first, given)
    like = repeat_rows(given.support, given.support["x"].shape[0])
    drawn = whole.learner.family.generate(whole.nets, given.support, noise(like, "samples"))
    expected = alone.learner.family.generate(alone.nets, given.support, own(like, "samples"))
    torch.testing.assert_close(drawn["x"], expected["x"])
    nats, mine = (
        a.learner.family.log_likelihood(a.nets, given.query, n(given.query, "nats", samples=3))
        for a, n in ((whole, noise), (alone, own))
    )
    torch.testing.assert_close(nats, mine)


def test_a_mixture_adds_up_likelihoods_and_draws_parts_by_weight():
    given, parts = episodes(), adapters()
    whole, noise = adapted(MixtureAdapter(parts, (0.3, 0.7)), given)
    each = []
    for part in parts:
        alone, own = adapted(part, given)
        drawn = own(given.query, "nats", samples=3)
        each.append(alone.learner.family.log_likelihood(alone.nets, given.query, drawn))
    expected = torch.logaddexp(each[0] + torch.tensor(0.3).log(), each[1] + torch.tensor(0.7).log())
    drawn = noise(given.query, "nats", samples=3)
    found = whole.learner.family.log_likelihood(whole.nets, given.query, drawn)
    torch.testing.assert_close(found, expected)
    share = noise(repeat_rows(given.support, 4000), "samples")["share"]
    assert float((share > 0.3).double().mean()) == pytest.approx(0.7, abs=0.03)


def test_a_mixture_with_a_part_that_knows_no_likelihood_knows_none():
    vae, gan = VAE(latent=3, net=Mlp(hidden=8)), GAN(latent=3, net=Mlp(hidden=8))
    assert isinstance(mixture_of([vae, vae], [0.5, 0.5]), LikelihoodModel)
    assert not isinstance(mixture_of([vae, gan], [0.5, 0.5]), LikelihoodModel)
    whole = mixture_of([vae, gan], [0.5, 0.5])
    nets = whole.build(DATA.shape)
    images = episodes().support
    noise = whole.draw(images, Stream(0))
    assert whole.generate(nets, images, noise)["x"].shape == images["x"].shape
    assert set(whole.players) == {"0.vae", "1.discriminator", "1.generator"}
    loss = whole.loss("1.generator", nets, images, noise)
    assert loss.shape == (images["x"].shape[0],)
