"""What every algorithm promises, over the registry; and the rules of games."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from metasearch.algorithms import ALGORITHMS
from metasearch.algorithms.base import MetaStep
from metasearch.engine import ENGINES
from metasearch.engine.base import InnerLoop
from metasearch.models import GAN, VAE
from metasearch.models.adversarial import Wasserstein
from metasearch.models.base import Learner, noise_per_task, shared_noise
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.trial.compatibility import misfit
from tests.games import Blobs, adapt, points, quadratic

NET = Mlp(hidden=12)
FAMILIES = {
    "vae": VAE(latent=3, net=NET),
    "gan": GAN(latent=3, net=NET),
    "wgan": GAN(latent=3, net=NET, objective=Wasserstein(), critic_steps=2),
}
INNER = InnerLoop(steps=2, lr=0.01)


@pytest.fixture(params=list(ALGORITHMS))
def algorithm(request):
    return ALGORITHMS[request.param](inner=INNER)


@pytest.fixture(params=list(ENGINES))
def engine(request):
    return ENGINES[request.param]()


@pytest.fixture(params=["vae", "gan"])
def learner(request, algorithm):
    if reason := misfit(algorithm, FAMILIES[request.param]):
        pytest.skip(reason)
    return Learner.create(FAMILIES[request.param], (1, 8, 8), Stream(0).at("init"))


def episodes(tasks=3):
    data = Blobs()
    return data.episodes(data.tasks("train")[:tasks], shot=3, query=4, rng=Stream(0).at("e"))


def noise(learner, tasks):
    return noise_per_task(learner.family, Stream(0).at("noise"), tasks)


def digest(learner):
    return {k: v.detach().clone() for k, v in learner.parameters().items()}


def test_gradient_names_are_parameter_names_and_the_learner_is_untouched(
    algorithm, engine, learner
):
    before, state = digest(learner), torch.get_rng_state()
    batch = episodes()
    found = algorithm.meta_gradient(MetaStep(engine, learner), batch, noise(learner, batch.tasks))
    assert set(found.values) == set(before)
    for name, p in learner.parameters().items():
        assert torch.equal(p, before[name])
        assert p.grad is None
    assert torch.equal(state, torch.get_rng_state())
    assert not algorithm.trains or any(g.abs().sum() > 0 for g in found.values.values())


def test_same_noise_same_gradient(algorithm, engine, learner):
    batch = episodes()
    one, two = (
        algorithm.meta_gradient(
            MetaStep(engine, learner), batch, noise(learner, batch.tasks)
        ).values
        for _ in range(2)
    )
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_the_order_of_tasks_and_the_cutting_of_batches_do_not_matter(algorithm, engine, learner):
    batch = episodes(4)
    whole = algorithm.meta_gradient(
        MetaStep(engine, learner), batch, noise(learner, batch.tasks)
    ).values
    parts = []
    for index in ([3, 1], [0, 2]):
        part = batch.select(index)
        parts.append(
            algorithm.meta_gradient(
                MetaStep(engine, learner), part, noise(learner, part.tasks)
            ).values
        )
    for name, value in whole.items():
        mean = (parts[0][name] + parts[1][name]) / 2
        torch.testing.assert_close(mean, value, rtol=1e-4, atol=1e-6)


def test_adaptation_lowers_the_support_loss_on_a_quadratic(engine):
    learner, batch = quadratic(), points(3, 4)
    source = shared_noise(learner.family, Stream(0))
    inner = InnerLoop(steps=5, lr=0.1)
    adapted = adapt(engine, learner, inner, batch.support, 3, source)
    still = adapt(engine, learner, InnerLoop(steps=0), batch.support, 3, source)
    family = learner.family
    after, before = (
        family.loss("point", a.nets, batch.support, source(batch.support)) for a in (adapted, still)
    )
    assert (after < before).all()


def test_a_diverged_task_changes_no_number_of_the_others(algorithm, engine, learner):
    batch = episodes(3)
    for images in (batch.support["x"], batch.query["x"]):
        images.reshape(3, -1)[1] = torch.nan
    source = noise(learner, batch.tasks)
    found = algorithm.meta_gradient(MetaStep(engine, learner), batch, source)
    rest = batch.select([0, 2])
    alone = algorithm.meta_gradient(MetaStep(engine, learner), rest, noise(learner, rest.tasks))
    if not algorithm.trains:
        return
    assert found.finite.tolist() == [True, False, True]
    for name, value in alone.values.items():
        torch.testing.assert_close(found.values[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("play", ["alternating", "simultaneous"])
@pytest.mark.parametrize("family", ["gan", "wgan"])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_players_move_leaves_the_other_players_weights_alone(engine, family, player, play):
    learner = Learner.create(FAMILIES[family], (1, 8, 8), Stream(0).at("init"))
    batch = episodes(2)
    source = noise(learner, batch.tasks)
    adapted = engine.open(learner, 2, dataclasses.replace(INNER, play=play))
    loss = learner.family.loss(player, adapted.nets, batch.support, source(batch.support))
    if play == "simultaneous":
        adapted.play({player: loss})
    else:
        adapted.step(player, loss)
    meta = learner.parameters()
    for task in range(2):
        moved = {k for k, v in adapted.state(task).items() if not torch.equal(v, meta[k])}
        assert moved and {learner.owner(k) for k in moved} == {player}


@pytest.mark.parametrize("order", [1, 2])
def test_the_meta_gradient_of_one_players_loss_is_zero_in_the_others_weights(engine, order):
    """Each player's block comes from its own loss: scaling the other's loss changes nothing."""
    learner = Learner.create(FAMILIES["gan"], (1, 8, 8), Stream(0).at("init"))
    batch = episodes(2)
    source = noise(learner, batch.tasks)
    blocks = []
    for factor in (1.0, 1000.0):
        adapted = adapt(engine, learner, INNER, batch.support, 2, source, order=order)
        losses = {
            p: learner.family.loss(p, adapted.nets, batch.query, source(batch.query, p))
            for p in learner.family.players
        }
        losses["discriminator"] = losses["discriminator"] * factor
        blocks.append(adapted.meta_gradient(losses, order).values)
    for name in blocks[0]:
        same = torch.equal(blocks[0][name], blocks[1][name])
        assert same == (learner.owner(name) == "generator"), name


def test_simultaneous_play_uses_the_old_weights_of_both(engine):
    learner = Learner.create(FAMILIES["gan"], (1, 8, 8), Stream(0).at("init"))
    batch = episodes(1)
    source = noise(learner, batch.tasks)
    adapted = engine.open(learner, 1, InnerLoop(steps=1, lr=0.1, clip=0, play="simultaneous"))
    family = learner.family
    losses = {
        p: family.loss(p, adapted.nets, batch.support, source(batch.support, p))
        for p in family.players
    }
    adapted.play(losses)
    start = learner.parameters()
    alone = engine.open(learner, 1, InnerLoop(steps=1, lr=0.1, clip=0))
    alone.step(
        "generator",
        family.loss("generator", alone.nets, batch.support, source(batch.support, "generator")),
    )
    for name in start:
        if learner.owner(name) == "generator":
            torch.testing.assert_close(adapted.state(0)[name], alone.state(0)[name])


def test_clipping_bounds_the_norm_of_one_players_step_in_each_task(engine):
    learner, batch = quadratic(), points(3, 4)
    source = shared_noise(learner.family, Stream(0))
    inner = InnerLoop(steps=1, lr=1.0, clip=0.01)
    adapted = adapt(engine, learner, inner, batch.support, 3, source)
    for task in range(3):
        moved = adapted.state(task)["point.phi"] - learner.parameters()["point.phi"].detach()
        assert moved.norm().item() == pytest.approx(0.01, rel=1e-6)


def test_adams_memory_starts_anew_with_each_task(engine):
    learner, batch = quadratic(), points(2, 4)
    source = shared_noise(learner.family, Stream(0))
    inner = InnerLoop(steps=3, lr=0.1, optimizer="adam", clip=0)
    both = adapt(engine, learner, inner, batch.support, 2, source)
    second = adapt(engine, learner, inner, batch.select([1]).support, 1, source)
    assert torch.equal(both.state(1)["point.phi"], second.state(0)["point.phi"])


def test_gradient_evaluations_are_counted_per_image_player_and_step(engine):
    learner = Learner.create(FAMILIES["wgan"], (1, 8, 8), Stream(0).at("init"))
    batch = episodes(3)
    source = noise(learner, batch.tasks)
    adapted = adapt(engine, learner, INNER, batch.support, 3, source)
    moves, shot = 3, 3  # two critic moves and one of the generator
    assert adapted.gradients == 3 * INNER.steps * moves * shot
