"""What rows are told beside their images: never themselves, and each set looked at once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from metasearch.algorithms import Joint
from metasearch.algorithms.base import Adapter, MetaStep
from metasearch.engine import Loop
from metasearch.engine.base import InnerLoop
from metasearch.models import MODELS, VAE, SetVAE
from metasearch.models.base import Learner, noise_per_task, rows
from metasearch.models.cgan import CGAN
from metasearch.models.conditions import conditioned, each_set_once, rows_to_draw
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.tasks.base import DERIVED, Episodes

TASKS, SHOT, QUERY = 3, 4, 2
SHAPE = (1, 8, 8)
FAMILY = SetVAE(latent=3, features=8, net=Mlp(hidden=8))


def images(n, *place):
    return torch.rand(TASKS * n, *SHAPE, generator=Stream(0).at(*place).torch()) * 2 - 1


def episodes() -> Episodes:
    names = tuple(f"g/{i}" for i in range(TASKS))
    parts = ({"x": images(n, part)} for part, n in (("s", SHOT), ("q", QUERY), ("a", 1)))
    return Episodes(names, *parts)


def heard_by(batch, row):
    """The images that a row hears."""
    return batch["given"][row][batch["heard"][row]]


def test_a_query_image_hears_the_whole_support_of_its_task_and_nothing_else():
    plain = episodes()
    query = conditioned(FAMILY, plain).query
    support = plain.support["x"].unflatten(0, (TASKS, SHOT))
    for row in range(TASKS * QUERY):
        assert torch.equal(heard_by(query, row), support[row // QUERY])


def test_a_support_image_hears_all_others_of_its_task_and_not_itself():
    plain = episodes()
    told = conditioned(FAMILY, plain).support
    support = plain.support["x"].unflatten(0, (TASKS, SHOT))
    for row in range(TASKS * SHOT):
        task, own = divmod(row, SHOT)
        others = [i for i in range(SHOT) if i != own]
        assert torch.equal(heard_by(told, row), support[task, others])


@pytest.mark.parametrize("target", [0, 2, 5, 11])
def test_changing_a_target_changes_nothing_that_it_hears(target):
    plain = episodes()
    other = plain.support["x"].clone()
    other[target] = -other[target]
    before, after = (
        conditioned(FAMILY, dataclasses.replace(plain, support={"x": x})).support
        for x in (plain.support["x"], other)
    )
    assert not torch.equal(before["x"][target], after["x"][target])
    assert torch.equal(heard_by(before, target), heard_by(after, target))
    beside = target + 1 if (target + 1) % SHOT else target - 1
    assert not torch.equal(heard_by(before, beside), heard_by(after, beside))


def test_what_a_family_makes_of_a_target_follows_from_what_it_hears_and_the_target_alone():
    """The latent that is drawn from the prior does not move with the target, the loss does."""
    learner = Learner.create(FAMILY, SHAPE, Stream(0))
    plain = episodes()
    other = {"x": plain.support["x"].clone()}
    other["x"][1] *= -1
    drawn, losses = [], []
    for support in (plain.support, other):
        batch = conditioned(FAMILY, dataclasses.replace(plain, support=support)).support
        noise = FAMILY.draw(batch, Stream(1))
        drawn.append(FAMILY.generate(learner.nets, batch, noise)["x"])
        losses.append(FAMILY.loss("setvae", learner.nets, batch, noise))
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][2], drawn[1][2])
    assert losses[0][1] != losses[1][1]


def test_images_are_drawn_for_the_whole_support():
    plain = episodes()
    asked = rows_to_draw(FAMILY, plain.support, TASKS, 5)
    support = plain.support["x"].unflatten(0, (TASKS, SHOT))
    assert rows(asked) == TASKS * 5
    for row in range(TASKS * 5):
        assert torch.equal(heard_by(asked, row), support[row // 5])


def test_without_a_support_a_row_hears_nothing_and_gets_finite_numbers():
    plain = episodes()
    bare = dataclasses.replace(plain, support={"x": plain.support["x"][:0]})
    query = conditioned(FAMILY, bare).query
    assert not query["heard"].any()
    learner = Learner.create(FAMILY, SHAPE, Stream(0))
    noise = FAMILY.draw(query, Stream(1))
    assert FAMILY.log_likelihood(learner.nets, query, noise).isfinite().all()


def test_a_family_that_asks_for_nothing_gets_its_episodes_as_they_are():
    plain = episodes()
    assert conditioned(VAE(), plain, progress=0.5) is plain


def test_a_set_is_looked_at_once_for_all_rows_that_share_it():
    seen = []

    def net(x):
        seen.append(len(x))
        return x.flatten(1)[:, :3] * 2

    query = conditioned(FAMILY, episodes()).query
    found = each_set_once(net, query)
    assert seen == [TASKS * SHOT]
    one_by_one = torch.stack([net(given) for given in query["given"]])
    assert torch.equal(found, one_by_one)
    uneven = {name: x[1:] for name, x in query.items()}  # runs of 1, 2 and 2 rows
    assert torch.equal(each_set_once(net, uneven), one_by_one[1:])


def test_neighbours_with_the_same_pictures_stay_apart():
    """Tasks must not be merged: an engine gives each weights of its own."""
    plain = episodes()
    same = {"x": plain.support["x"][:SHOT].repeat(TASKS, 1, 1, 1)}
    query = conditioned(FAMILY, dataclasses.replace(plain, support=same)).query
    seen = []
    each_set_once(lambda x: seen.append(len(x)) or x, query)
    assert seen == [TASKS * SHOT]


def test_progress_is_told_in_training_and_ends_a_warm_up():
    family = VAE(latent=2, net=Mlp(hidden=4), beta=2.0, warmup=0.2)
    learner = Learner.create(family, SHAPE, Stream(0))
    plain = episodes()
    noise = family.draw(plain.query, Stream(1))

    def loss(progress):
        batch = conditioned(family, plain, progress=progress).query
        return family.loss("vae", learner.nets, batch, noise)

    full = loss(None)
    nats = dataclasses.replace(family, beta=0.0).loss("vae", learner.nets, plain.query, noise)
    torch.testing.assert_close(loss(0.0), nats)
    torch.testing.assert_close(loss(0.05), nats + 0.25 * (full - nats))
    torch.testing.assert_close(loss(0.2), full)
    torch.testing.assert_close(loss(0.9), full)


def test_a_warm_up_reaches_the_meta_gradient():
    family = VAE(latent=2, net=Mlp(hidden=4), warmup=0.5)
    learner = Learner.create(family, SHAPE, Stream(0))
    plain = episodes()
    noise = noise_per_task(family, Stream(1), plain.tasks)

    def loss(progress):
        step = MetaStep(Loop(), learner, progress=progress)
        return Joint().meta_gradient(step, plain, noise).losses["vae"]

    assert (loss(0.0) < loss(0.25)).all() and (loss(0.25) < loss(1.0)).all()


@pytest.mark.parametrize("name", [n for n, m in MODELS.items() if set(m().domains) & set(DERIVED)])
def test_adapting_needs_nothing_but_the_images(name):
    family = MODELS[name]()
    if hasattr(family, "net"):  # the usual one is for larger images
        family = dataclasses.replace(family, net=Mlp(hidden=8))
    learner = Learner.create(family, SHAPE, Stream(0))
    plain = episodes()
    noise = noise_per_task(family, Stream(1), plain.tasks)
    adapted = Adapter(learner, InnerLoop(steps=2)).adapt(Loop(), plain.support, TASKS, noise)
    asked = rows_to_draw(family, plain.support, TASKS, 3)
    with torch.no_grad():
        drawn = family.generate(adapted.nets, asked, noise(asked, "samples"))["x"]
    assert drawn.shape == (TASKS * 3, *SHAPE)


CLASSED = CGAN(condition="sets", classes=2, latent=3, embedding=4, net=Mlp(hidden=8))


def labelled(*support: int) -> Episodes:
    plain = episodes()
    seen = {"support": support * TASKS, "query": (0, 1) * TASKS, "anchor": (0,) * TASKS}
    parts = {
        part: {**getattr(plain, part), "y": torch.tensor(labels)} for part, labels in seen.items()
    }
    return dataclasses.replace(plain, **parts)


@pytest.mark.parametrize(
    ("labels", "support", "query"),
    [
        ((0, 1, 0, 1), [[2], [3], [0], [1]], [[0, 2], [1, 3]]),
        ((0, 1, -1, -1), [[], [], [0, 1, 3], [0, 1, 2]], [[0], [1]]),
        ((-1, -1, -1, -1), [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]], [[], []]),
    ],
)
def test_a_row_with_a_label_hears_what_is_known_to_be_of_its_class(labels, support, query):
    plain = labelled(*labels)
    told = conditioned(CLASSED, plain)
    pictures = plain.support["x"].unflatten(0, (TASKS, SHOT))
    for batch, wanted in ((told.support, support), (told.query, query)):
        for row in range(rows(batch)):
            task, own = divmod(row, len(wanted))
            assert torch.equal(heard_by(batch, row), pictures[task, wanted[own]])


def test_what_is_drawn_for_a_class_hears_all_of_it_and_a_family_without_classes_everything():
    plain = labelled(0, 1, 0, -1)
    asked = rows_to_draw(CLASSED, plain.support, TASKS, 5)
    assert asked["y"].tolist() == [0, 1, 0, -1, 0] * TASKS
    every = [[0, 2], [1], [0, 2], [0, 1, 2, 3], [0, 2]]
    assert [h.nonzero().flatten().tolist() for h in asked["heard"]] == every * TASKS
    assert rows_to_draw(FAMILY, plain.support, TASKS, 5)["heard"].all()
