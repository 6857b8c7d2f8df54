"""Probabilities that add up, pixels that look back only, and draws that follow them."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.engine.batched import formulation
from metasearch.models.autoregressive import Autoregressive
from metasearch.models.base import Learner, noise_per_task
from metasearch.rng import Stream
from tests.games import adapt


def learner(shape, dtype=torch.float64, **settings):
    """With weights large enough that pixels matter to each other."""
    found = Learner.create(Autoregressive(**settings), shape, Stream(0))
    for net in found.nets.values():
        net.to(dtype)
    with torch.no_grad():
        for name, p in found.parameters().items():
            p.copy_(torch.randn(p.shape, generator=Stream(1).at(name).torch(), dtype=dtype))
    return found


def log_chances(made, images):
    """log p of each image, without gradients."""
    batch = {"x": images}
    with torch.no_grad():
        return made.family.log_likelihood(made.nets, batch, made.family.draw(batch, Stream(2)))


def every_image(shape):
    """All black-and-white images of a shape, [2 ** pixels, c, h, w]."""
    pixels = shape[0] * shape[1] * shape[2]
    bits = list(itertools.product([-1.0, 1.0], repeat=pixels))
    return torch.tensor(bits, dtype=torch.float64).reshape(-1, *shape)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 3, 4), (3, 2, 2), (2, 1, 5)], ids=str)
@pytest.mark.parametrize("reach", [1, 2, 5])
def test_the_probabilities_of_all_images_add_up_to_one(shape, reach):
    made = learner(shape, reach=reach, width=5)
    found = log_chances(made, every_image(shape))
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-10)
    assert float(found.std()) > 0.5  # and they are not all alike


@pytest.mark.parametrize("reach", [1, 3, 7])
def test_a_pixel_changes_no_logit_up_to_its_own_and_all_within_reach_after_it(reach):
    made, side = learner((1, 6, 6), reach=reach, width=8), 6
    x = torch.where(torch.rand(1, 1, side, side, generator=Stream(3).torch()) < 0.5, 1.0, -1.0)
    x = x.double()
    before = made.family.logits(made.nets, x).flatten()
    for i, j in itertools.product(range(side), repeat=2):
        other = x.clone()
        other[0, 0, i, j] *= -1
        after = made.family.logits(made.nets, other).flatten()
        changed = (after - before).abs() > 1e-12
        for row, column in itertools.product(range(side), repeat=2):
            left = 0 <= row - i < reach and 0 < column - j <= reach
            above = 0 < row - i <= reach and 0 <= j - column < reach
            assert bool(changed[row * side + column]) == (left or above), (i, j, row, column)


def test_images_are_drawn_as_often_as_they_are_probable():
    shape = (1, 2, 2)
    made = learner(shape, reach=2, width=4)
    every = every_image(shape)
    chance = log_chances(made, every).exp()
    n = 20_000
    like = {"x": every[:1].expand(n, *shape)}
    drawn = made.family.generate(made.nets, like, made.family.draw(like, Stream(5)))["x"]
    code = ((drawn.flatten(1) > 0).long() * torch.tensor([8, 4, 2, 1])).sum(1)
    often = torch.bincount(code, minlength=16) / n
    assert float(((often - chance).square() / (chance / n)).sum()) < 40  # chi^2 with 15 degrees


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 4, 3)], ids=str)
def test_drawing_pixel_by_pixel_follows_the_logits_of_the_whole_image(shape):
    """The chances a drawn image was drawn with are those that a look at all of it gives."""
    made = learner(shape, reach=3, width=6, depth=2)
    like = {"x": torch.zeros(16, *shape, dtype=torch.float64)}
    noise = made.family.draw(like, Stream(7))
    drawn = made.family.generate(made.nets, like, noise)["x"]
    assert drawn.shape == (16, *shape) and set(drawn.unique().tolist()) == {-1.0, 1.0}
    row = drawn.permute(0, 2, 3, 1).reshape(16, 1, shape[1], -1)
    chance = torch.sigmoid(made.family.logits(made.nets, row)).flatten(1)
    assert torch.equal(noise["u"] < chance, row.flatten(1) > 0)


def test_the_nats_of_a_grey_image_are_those_of_its_draws_on_average():
    shape = (1, 2, 2)
    made = learner(shape, reach=2, width=4)
    family, every = made.family, every_image(shape)
    grey = 2 * torch.rand(1, *shape, generator=Stream(8).torch(), dtype=torch.float64) - 1
    light = (grey + 1) / 2
    chance = torch.where(every > 0, light, 1 - light).flatten(1).prod(1)
    want = -(chance * log_chances(made, every)).sum()
    many = {"x": grey.expand(20_000, *shape)}
    with torch.no_grad():
        found = family.loss("autoregressive", made.nets, many, family.draw(many, Stream(9)))
    error = float(found.std()) / 20_000**0.5
    assert float(found.mean()) == pytest.approx(float(want), abs=4 * error)


def test_without_windows_it_is_a_bernoulli_for_each_place():
    made = learner((1, 3, 3), width=4, depth=0)
    with torch.no_grad():
        for name in ("left", "above"):
            made.nets[name].weight.zero_()
    batch = {"x": every_image((1, 3, 3))[::7]}
    hidden = made.nets["left"].bias + made.nets["place"].weight  # [9, 4]
    head = made.nets["head"][-1]
    logit = F.silu(hidden) @ head.weight.flatten() + head.bias
    chance = torch.sigmoid(logit)
    lit = batch["x"].flatten(1) > 0
    want = -torch.where(lit, chance, 1 - chance).log().sum(1)
    noise = made.family.draw(batch, Stream(2))
    torch.testing.assert_close(made.family.loss("", made.nets, batch, noise), want)


def test_the_batched_engine_takes_it_and_draws_the_images_that_the_loop_draws():
    made = learner((1, 8, 8), reach=3, width=8)
    assert formulation(made) in {"low_rank", "stacked"}
    tasks = ["g/a", "g/b", "g/c"]
    make = Stream(4).torch()
    support = {"x": torch.rand(3 * 4, 1, 8, 8, generator=make, dtype=torch.float64) * 2 - 1}
    noise = noise_per_task(made.family, Stream(5), tasks)
    drawn = []
    for engine in (Loop(), Batched()):
        adapted = adapt(engine, made, InnerLoop(steps=3, lr=0.05), support, 3, noise)
        drawn.append(made.family.generate(adapted.nets, support, noise(support, "samples"))["x"])
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0][:4], drawn[0][4:8])


def test_to_adapt_the_head_is_to_adapt_the_net_of_that_name_alone():
    found = learner((1, 8, 8), width=4)
    assert {name.split(".")[0] for name in found.adapting("head")} == {"head"}
    assert found.adapting("head") == {n for n in found.parameters() if n.startswith("head.")}
    assert found.adapting("place") == {"place.weight"}
