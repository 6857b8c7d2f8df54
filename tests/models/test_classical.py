"""Closed forms against the slow obvious formulas, and against the floors of pixels."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from metasearch.models.base import Learner
from metasearch.models.classical import GAIN, Classical, Kernel, Pixels
from metasearch.models.conditions import conditioned, rows_to_draw
from metasearch.rng import Stream
from metasearch.scores.floors import PixelFloor
from metasearch.tasks.base import Episodes

SHAPE = (1, 3, 3)
KINDS = {"pixels": Pixels(), "kernel": Kernel(), "shifting": Kernel(reach=1)}


def made(kind, shape=SHAPE):
    """With every number drawn."""
    learner = Learner.create(Classical(kind=kind), shape, Stream(0))
    for net in learner.nets.values():
        net.to(torch.float64)
    with torch.no_grad():
        for name, p in learner.parameters().items():
            drawn = torch.randn(p.shape, generator=Stream(1).at(name).torch(), dtype=p.dtype)
            p.copy_(drawn / GAIN)
    return learner


def number(learner, name):
    return (GAIN * learner.nets[name].weight.flatten()).detach()


def black_and_white(n, seed, shape=SHAPE):
    u = torch.rand(n, *shape, generator=Stream(seed).torch(), dtype=torch.float64)
    return torch.where(u < 0.4, 1.0, -1.0).double()


def told(images, sets):
    """Rows that hear all of the same set."""
    n, k = len(images), len(sets)
    return {
        "x": images,
        "given": sets.expand(n, *sets.shape),
        "heard": torch.ones(n, k, dtype=torch.bool),
        "set": torch.zeros(n, dtype=torch.int64),
    }


def log_p(learner, batch):
    with torch.no_grad():
        noise = learner.family.draw(batch, Stream(2))
        return learner.family.log_likelihood(learner.nets, batch, noise)


def every_image(shape=SHAPE):
    pixels = math.prod(shape)
    bits = list(itertools.product([-1.0, 1.0], repeat=pixels))
    return torch.tensor(bits, dtype=torch.float64).reshape(-1, *shape)


def posterior(learner, sets):
    prior, strength = torch.sigmoid(number(learner, "prior")), number(learner, "strength").exp()
    ink = ((sets + 1) / 2).flatten(1).sum(0)
    return (strength * prior + ink) / (strength + len(sets))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("k", [1, 4])
def test_the_probabilities_of_all_images_add_up_to_one(kind, k):
    found = log_p(made(kind), told(every_image(), black_and_white(k, 3)))
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-10)


def test_pixels_are_the_beta_bernoulli_of_the_floors():
    """Its prior mean and strength in the floor's formula give its nats."""
    learner = made(Pixels())
    names = ("g/a", "g/b")
    support, query = black_and_white(2 * 5, 4), black_and_white(2 * 3, 5)
    episodes = Episodes(names, {"x": support}, {"x": query}, {"x": query[:0]})
    prior = torch.sigmoid(number(learner, "prior")).reshape(SHAPE)
    floor = PixelFloor({"x": prior}, float(number(learner, "strength").exp()))
    nats = -log_p(learner, conditioned(learner.family, episodes).query).reshape(2, 3).mean(1)
    torch.testing.assert_close(nats, floor.nll(episodes))


@pytest.mark.parametrize("reach", [0, 1])
def test_a_kernel_is_the_sum_over_images_and_shifts_written_out(reach):
    learner = made(Kernel(reach=reach))
    sets, images = black_and_white(3, 6), black_and_white(4, 7)
    smear, share = (float(torch.sigmoid(number(learner, n))) for n in ("smear", "share"))
    where = torch.softmax(number(learner, "shift"), 0).tolist()
    mean = posterior(learner, sets)
    places = list(itertools.product(range(-reach, reach + 1), repeat=2))
    for image, found in zip(images, log_p(learner, told(images, sets)).tolist(), strict=True):
        lit = image.flatten() > 0
        total = share * float(torch.where(lit, mean, 1 - mean).prod())
        for one, (weight, (down, right)) in itertools.product(
            sets, zip(where, places, strict=True)
        ):
            chance = 1.0
            for i, j in itertools.product(range(3), repeat=2):
                a, b = i - down, j - right
                copy = float(one[0, a, b] > 0) if 0 <= a < 3 and 0 <= b < 3 else 0.0
                p = (1 - smear) * copy + smear * float(mean[3 * i + j])
                chance *= p if lit[3 * i + j] else 1 - p
            total += (1 - share) / len(sets) * weight * chance
        assert found == pytest.approx(math.log(total), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_images_are_drawn_as_often_as_they_are_probable(kind):
    shape, n = (1, 2, 2), 20_000
    learner = made(kind, shape)
    sets = black_and_white(2, 8, shape)
    rows = rows_to_draw(learner.family, {"x": sets}, 1, n)
    drawn = learner.family.generate(learner.nets, rows, learner.family.draw(rows, Stream(9)))["x"]
    code = ((drawn.flatten(1) > 0).long() * torch.tensor([8, 4, 2, 1])).sum(1)
    often = torch.bincount(code, minlength=16) / n
    chance = log_p(learner, told(every_image(shape), sets)).exp()
    assert float(((often - chance).square() / (chance / n)).sum()) < 40  # chi^2, 15 degrees


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_row_that_hears_nothing_is_left_with_the_prior(kind):
    learner = made(kind)
    images = black_and_white(3, 10)
    deaf = told(images, black_and_white(2, 11)) | {"heard": torch.zeros(3, 2, dtype=torch.bool)}
    prior = torch.sigmoid(number(learner, "prior")).reshape(SHAPE)
    want = torch.where(images > 0, prior, 1 - prior).log().flatten(1).sum(1)
    torch.testing.assert_close(log_p(learner, deaf), want)


def test_more_images_of_a_class_are_heard_more():
    """With a set of equal images the posterior moves from the prior to them."""
    learner = made(Pixels())
    image = black_and_white(1, 12)
    found = [float(log_p(learner, told(image, image.expand(k, *SHAPE)))) for k in (1, 3, 30)]
    assert found == sorted(found) and found[-1] > math.log(0.5)
