"""The code sample that the project started from: twelve defects, and that ours has none of them.

The sample trains a GAN in some thirty lines. It cannot run, and most of what keeps it from running
would also be wrong if it did. Each test first says what the sample does.
"""

from __future__ import annotations

import math
from collections import deque

import pytest
import torch
import torch.nn.functional as F

from metasearch.algorithms import Reptile
from metasearch.algorithms.base import MetaStep, inner_losses
from metasearch.engine import ENGINES
from metasearch.engine.base import InnerLoop
from metasearch.models import GAN
from metasearch.models.adversarial import NonSaturating
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.nets import Conv, Mlp
from metasearch.rng import Stream
from metasearch.tasks.base import SPLITS
from metasearch.trial.loop import run_trial
from tests.games import Blobs
from tests.small import blobs_file, config

SHAPE = (1, 8, 8)
FAMILY = GAN(latent=3, net=Mlp(hidden=12))


def learner(family=FAMILY, shape=SHAPE):
    return Learner.create(family, shape, Stream(0).at("init"))


def episodes(tasks=2, shot=3, query=4):
    data = Blobs()
    return data.episodes(data.tasks("train")[:tasks], shot=shot, query=query, rng=Stream(0).at("e"))


def played(engine, inner, family=FAMILY, tasks=2):
    """A game adapted to some tasks, and what it cost in noise."""
    given, asked = learner(family), []
    batch = episodes(tasks)
    draw = noise_per_task(family, Stream(0).at("noise"), batch.tasks)

    def noise(like, *purpose, samples=1):
        found = draw(like, *purpose, samples=samples)
        asked.append((purpose, found["z"]))
        return found

    adapted = engine.open(given, tasks, inner)
    inner_losses(adapted, inner, batch.support, noise)
    return given, adapted, asked


def test_1_the_critic_answers_logits_and_the_loss_does_not_squash_them_again():
    """The sample squashes twice: by a sigmoid in the net, and once more in the loss.

    A probability p in the place of a logit leaves a loss of at least softplus(-1) = 0.3133, and its
    slope at a logit of -6 is 800 times too small.
    """
    critic = learner().nets["discriminator"]
    with torch.no_grad():
        said = critic(50 * torch.randn(64, *SHAPE, generator=Stream(1).torch()))
    assert said.min() < 0 and said.max() > 1
    logit = torch.tensor([20.0, -6.0], dtype=torch.float64, requires_grad=True)
    right, wrong = NonSaturating().generator(logit)
    (slope,) = torch.autograd.grad(right + wrong, logit)
    assert right.item() < 1e-8
    assert slope[1].item() == pytest.approx(-0.9975, abs=1e-4)
    twice = F.softplus(-torch.sigmoid(logit))  # what the sample computes
    (faint,) = torch.autograd.grad(twice.sum(), logit)
    assert twice.min().item() == pytest.approx(0.3133, abs=1e-4)
    assert slope[1].item() / faint[1].item() > 800


def test_2_the_generator_descends_a_loss_of_its_own_against_the_critic():
    """The sample's generator has the discriminator's loss, and so helps it."""
    given, batch = learner(), {"x": episodes().support["x"]}
    noise = FAMILY.draw(batch, Stream(1))

    def opinion():
        with torch.no_grad():
            return float(given.nets["discriminator"](FAMILY.generate(given.nets, batch, noise)["x"]).mean())  # fmt: skip

    before = opinion()
    own = list(given.nets["generator"].parameters())
    grads = torch.autograd.grad(FAMILY.loss("generator", given.nets, batch, noise).mean(), own)
    for p, g in zip(own, grads, strict=True):
        p.data -= 0.05 * g
    assert opinion() > before


def test_3_a_loss_can_be_asked_for_again_after_a_step():
    """The sample stores the value of a loss under the name of the function: no second epoch."""
    given, batch = learner(), episodes()
    noise = FAMILY.draw(batch.support, Stream(1))
    for _ in range(3):
        for player in FAMILY.players:
            assert FAMILY.loss(player, given.nets, batch.support, noise).shape == (6,)


def test_4_the_players_are_modules_with_parameters_of_their_own():
    """The sample asks functions for their variables."""
    given = learner()
    names = {p: {n for n in given.parameters() if given.owner(n) == p} for p in FAMILY.players}
    assert all(names.values())
    assert not set.intersection(*names.values())
    assert set.union(*names.values()) == set(given.parameters())


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64)], ids=str)
@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
def test_5_what_the_generator_draws_is_an_image_that_the_critic_reads(shape, upsample):
    """The sample's generator ends at 7 x 7 with 256 channels, its discriminator takes images."""
    family = GAN(latent=5, net=Conv(width=4, upsample=upsample))
    given = learner(family, shape)
    noise = family.draw({"x": torch.zeros(3, *shape)}, Stream(0))
    images = family.generate(given.nets, {}, noise)["x"]
    assert images.shape == (3, *shape)
    assert given.nets["discriminator"](images).shape == (3,)


def test_6_a_step_sees_some_images_of_a_task_and_each_of_them_once():
    """The sample repeats the whole data set as often as a batch is large, and cuts no batch."""
    few = episodes(tasks=3, shot=3, query=4)
    assert few.support["x"].shape[0] == 3 * 3 and few.query["x"].shape[0] == 3 * 4
    pixels = [row.numpy().tobytes() for row in (*few.support["x"], *few.query["x"])]
    assert len(set(pixels)) == len(pixels)


def test_7_a_trial_opens_data(tmp_path):
    """The sample's data is three dots."""
    source = config(blobs_file(tmp_path / "x.npz")).tasks
    data = source.open()
    assert all(len(data.tasks(split)) for split in SPLITS)
    assert data.images(data.tasks("train")[0])["x"].shape[1:] == SHAPE


def test_8_the_generator_reads_as_many_numbers_as_its_latent_says():
    """The sample passes the size of the latent to both nets, and neither uses it."""
    sizes = set()
    for latent in (2, 7):
        family = GAN(latent=latent, net=Mlp(hidden=4))
        given = learner(family)
        z = family.draw({"x": torch.zeros(3, *SHAPE)}, Stream(0))["z"]
        assert z.shape == (3, latent)
        sizes.add(given.parameters()["generator.0.weight"].shape)
    assert sizes == {(4, 2), (4, 7)}


@pytest.mark.parametrize("engine", list(ENGINES))
def test_9_each_player_has_an_optimiser_of_its_own(engine):
    """The sample's two players share one Adam, with its count of steps and its moments.

    The first step of Adam moves every weight by the rate: a generator that shared the count after
    three steps of its discriminator would move by less.
    """
    family = GAN(latent=3, net=Mlp(hidden=12), critic_steps=3)
    inner = InnerLoop(steps=1, lr=1e-3, optimizer="adam", clip=0)
    given, adapted, _ = played(ENGINES[engine](), inner, family)
    start = given.parameters()
    moved = [
        (value - start[name]).abs()
        for name, value in adapted.state(0).items()
        if given.owner(name) == "generator"
    ]
    far = torch.cat([m.flatten() for m in moved])
    assert far[far > 1e-6].median().item() == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("engine", list(ENGINES))
def test_10_every_turn_of_every_player_draws_anew(engine):
    """The sample updates both players from one forward pass."""
    inner = InnerLoop(steps=2, lr=1e-3)
    _, _, asked = played(
        ENGINES[engine](), inner, GAN(latent=3, net=Mlp(hidden=12), critic_steps=2)
    )
    assert len(asked) == 2 * 3
    draws = [z.numpy().tobytes() for _, z in asked]
    assert len(set(draws)) == len(draws)


def test_11_there_are_tasks_two_loops_and_an_evaluation_on_tasks_never_seen(tmp_path):
    """The sample has none: it is no meta-learning at all."""
    few = episodes()
    seen = {row.numpy().tobytes() for row in few.support["x"]}
    assert not seen & {row.numpy().tobytes() for row in few.query["x"]}
    given = learner()
    noise = noise_per_task(FAMILY, Stream(0), few.tasks)
    step = MetaStep(ENGINES["loop"](), given)
    found = Reptile(inner=InnerLoop(steps=2)).meta_gradient(step, few, noise)
    assert any(g.abs().sum() > 0 for g in found.values.values())
    recipe = config(
        blobs_file(tmp_path / "x.npz"),
        models=[{"name": "gan", "latent": 3, "net": {"name": "mlp", "hidden": 8}}],
        score={"name": "mmd"},
    )
    (last,) = deque(run_trial(recipe), maxlen=1)
    data = recipe.tasks.open()
    assert set(last.per_task) == set(data.tasks("search"))
    assert not set(last.per_task) & set(data.tasks("train"))
    assert math.isfinite(last.score) and math.isfinite(last.before)


def test_12_runs_have_seeds_and_checkpoints_and_nothing_that_differs_in_evaluation(tmp_path):
    """The sample has no seed, no evaluation mode and no checkpoint."""
    first, second, other = (Learner.create(FAMILY, SHAPE, Stream(seed)) for seed in (1, 1, 2))
    one, two, three = (list(made.parameters().values()) for made in (first, second, other))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    x = torch.rand(4, *SHAPE, generator=Stream(0).torch())
    critic = first.nets["discriminator"]
    assert torch.equal(critic.train()(x), critic.eval()(x))
    recipe = config(
        blobs_file(tmp_path / "x.npz"),
        models=[{"name": "gan", "latent": 3, "net": {"name": "mlp", "hidden": 8}}],
        score={"name": "mmd"},
    )
    trial = run_trial(recipe)
    half = next(trial)
    half.snapshot.save(tmp_path / "half")
    (whole,) = deque(trial, maxlen=1)
    (resumed,) = deque(run_trial(recipe, resume=tmp_path / "half"), maxlen=1)
    assert resumed.per_task == whole.per_task
