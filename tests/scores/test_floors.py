"""The floors against the slow obvious formulas, and on real handwriting."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch

from metasearch.rng import Stream
from metasearch.scores import floors
from metasearch.scores.floors import (
    REACHES,
    SHARES,
    SMEARS,
    STRENGTHS,
    Copies,
    KernelFloor,
    PixelFloor,
    _moved,
    beta_bernoulli,
    kernel_density,
    pixel_marginal,
)
from metasearch.tasks.base import Episodes
from tests.scores.fakes import Handwriting, Strokes


@pytest.fixture(scope="module")
def source():
    return Strokes()


@pytest.fixture(scope="module")
def episodes(source):
    return source.episodes(source.tasks("search"), shot=5, query=6, anchor=0, rng=Stream(20))


def slow_nats(p, image):
    total = 0.0
    for q, x in zip(p.flatten().tolist(), image.flatten().tolist(), strict=True):
        v = (x + 1) / 2
        total -= v * math.log(q) + (1 - v) * math.log(1 - q)
    return total


def test_nats_are_those_of_the_formula_written_out(source, episodes):
    floor = beta_bernoulli(source, shot=5, query=6)
    found = floor.nll(episodes)
    support, query = (b["x"].unflatten(0, (24, -1)) for b in (episodes.support, episodes.query))
    for t in (0, 13):
        ink = ((support[t].double() + 1) / 2).sum(0)
        p = (floor.strength * floor.prior["x"] + ink) / (floor.strength + 5)
        by_hand = sum(slow_nats(p, image) for image in query[t]) / 6
        assert float(found[t]) == pytest.approx(by_hand, rel=1e-9)


def test_a_prior_of_infinite_strength_is_the_pixel_marginal(source, episodes):
    marginal = pixel_marginal(source, shot=5)
    strong = PixelFloor(marginal.prior, 1e12)
    torch.testing.assert_close(strong.nll(episodes), marginal.nll(episodes), rtol=1e-6, atol=0)
    light = marginal.light(episodes.support, 24)["x"]
    assert torch.equal(light, marginal.prior["x"].expand(24, -1, -1, -1))


def test_the_prior_is_the_mean_of_train_pixels_and_never_certain(source):
    prior = pixel_marginal(source, shot=5).prior["x"]
    images = torch.cat([source.images(t)["x"] for t in source.tasks("train")])
    assert float((prior - ((images + 1) / 2).mean(0)).abs().max()) < 0.1
    dark = PixelFloor({"x": torch.zeros(1)}, 1.0).prior["x"]
    assert float(prior.min()) > float(dark) and float(prior.max()) < 1


def test_the_strength_is_the_best_on_train_tasks_and_no_other_is_looked_at():
    fresh = Strokes()
    floor = beta_bernoulli(fresh, shot=5, query=6, seed=3)
    assert set(fresh.asked) == {"train"}
    place = Stream(3).at("floors", "episodes")
    episodes = fresh.episodes(fresh.tasks("train"), shot=5, query=6, rng=place)
    nats = {s: float(PixelFloor(floor.prior, s).nll(episodes).mean()) for s in STRENGTHS}
    assert floor.strength == min(nats, key=lambda s: nats[s])


def test_hearing_the_support_helps_and_more_of_it_helps_more(source):
    found = []
    for shot in (1, 4, 12):
        episodes = source.episodes(source.tasks("search"), shot=shot, query=6, rng=Stream(21))
        mine = float(beta_bernoulli(source, shot=shot, query=6).nll(episodes).mean())
        found.append(mine)
        assert mine < float(pixel_marginal(source, shot=shot).nll(episodes).mean())
    assert found == sorted(found, reverse=True)


def test_samples_are_black_and_white_with_the_means_of_the_posterior(source, episodes):
    floor = beta_bernoulli(source, shot=5, query=6)
    images = floor.sample(episodes, 400, Stream(22))["x"]
    assert images.shape == (24 * 400, 1, 16, 16) and images.dtype == torch.float32
    assert set(images.unique().tolist()) == {-1.0, 1.0}
    light = floor.light(episodes.support, 24)["x"]
    mean = ((images.unflatten(0, (24, 400)) + 1) / 2).double().mean(1)
    deviation = (light * (1 - light) / 400).sqrt()
    assert float(((mean - light) / deviation).square().mean()) == pytest.approx(1, abs=0.1)


def test_what_a_task_gets_depends_on_no_other_task(source, episodes):
    floor = beta_bernoulli(source, shot=5, query=6)
    whole = floor.sample(episodes, 3, Stream(22))["x"].unflatten(0, (24, 3))
    part = episodes.select([7, 2])
    drawn = floor.sample(part, 3, Stream(22))["x"].unflatten(0, (2, 3))
    assert torch.equal(drawn, whole[[7, 2]])
    torch.testing.assert_close(floor.nll(part), floor.nll(episodes)[[7, 2]])


def test_every_domain_of_a_pair_counts():
    prior = {"a": torch.full((1, 2, 2), 0.5).double(), "b": torch.full((1, 2, 2), 0.25).double()}
    dark = -torch.ones(1, 1, 2, 2)
    pair = {"a": dark, "b": dark}
    found = PixelFloor(prior, math.inf).nll(Episodes(("t",), pair, pair, pair))
    assert float(found) == pytest.approx(-4 * math.log(0.5) - 4 * math.log(0.75))


def test_real_handwriting_has_the_floors_it_is_known_for():
    source = Handwriting.open()
    names = source.tasks("search")[::3]
    marginal, shrunk, kernels = [], [], []
    for shot in (1, 5):
        episodes = source.episodes(names, shot=shot, query=10, rng=Stream(23))
        marginal.append(float(pixel_marginal(source, shot=shot).nll(episodes).mean()))
        shrunk.append(float(beta_bernoulli(source, shot=shot, query=10).nll(episodes).mean()))
        kernels.append(float(kernel_density(source, shot=shot, query=10).nll(episodes).mean()))
    # A few per cent of ink, about 784 bits of which most are dark: far below 784 ln 2 = 543.
    assert all(140 < nats < 210 for nats in marginal)
    assert max(marginal) - min(marginal) < 8
    assert shrunk == sorted(shrunk, reverse=True)
    assert all(a < b for a, b in zip(shrunk, marginal, strict=True))
    assert kernels == sorted(kernels, reverse=True)
    assert all(a < b for a, b in zip(kernels, shrunk, strict=True))


def slow_kernel(floor, p, support, image):
    """-log of the sum over images and places, pixel by pixel."""
    span = range(-floor.reach, floor.reach + 1)
    side = image.shape[-1]
    p, image = p.numpy(), image.numpy()
    total = floor.share * math.exp(-slow_nats(p, image))
    weight = (1 - floor.share) / (len(support) * len(span) ** 2)
    for one, down, right in itertools.product(support, span, span):
        log = 0.0
        for i, j in itertools.product(range(side), repeat=2):
            a, b = i - down, j - right
            inside = 0 <= a < side and 0 <= b < side
            copy = (float(one[0, a, b]) + 1) / 2 if inside else 0.0
            light = (1 - floor.smear) * copy + floor.smear * float(p[0, i, j])
            x = (float(image[0, i, j]) + 1) / 2
            log += x * math.log(light) + (1 - x) * math.log(1 - light)
        total += weight * math.exp(log)
    return -math.log(total)


@pytest.mark.parametrize("reach", [0, 1])
def test_kernels_are_the_sum_over_images_and_places_written_out(source, episodes, reach):
    floor = KernelFloor(beta_bernoulli(source, shot=5, query=6), 0.35, 0.15, reach)
    part = episodes.select([3, 8])
    few = {"x": part.query["x"].unflatten(0, (2, 6))[:, :2].flatten(0, 1)}
    found = floor.nll(dataclasses.replace(part, query=few))
    light = floor.pixels.light(part.support, 2)["x"]
    support, query = (b["x"].double().unflatten(0, (2, -1)) for b in (part.support, few))
    for t in range(2):
        by_hand = sum(slow_kernel(floor, light[t], support[t].numpy(), x) for x in query[t]) / 2
        assert float(found[t]) == pytest.approx(by_hand, rel=1e-9)


def test_the_chances_of_all_images_add_up_to_one_and_are_drawn_as_often():
    bits = list(itertools.product([-1.0, 1.0], repeat=4))
    every = torch.tensor(bits).reshape(16, 1, 2, 2)
    prior = {"x": torch.tensor([[[0.2, 0.4], [0.6, 0.3]]], dtype=torch.float64)}
    floor = KernelFloor(PixelFloor(prior, 2.0), 0.3, 0.25, 1)
    support = {"x": every[[9, 14]]}
    chance = torch.stack([
        (-floor.nll(Episodes(("t",), support, {"x": x.unsqueeze(0)}, {}))).exp().squeeze(0)
        for x in every
    ])  # fmt: skip
    assert float(chance.sum()) == pytest.approx(1, abs=1e-10)
    n = 20_000
    drawn = floor.sample(Episodes(("t",), support, support, {}), n, Stream(26))["x"]
    assert drawn.dtype == torch.float32
    code = ((drawn.flatten(1) > 0).long() * torch.tensor([8, 4, 2, 1])).sum(1)
    often = torch.bincount(code, minlength=16) / n
    assert float(((often - chance).square() / (chance / n)).sum()) < 40  # chi^2, 15 degrees


def test_kernels_are_set_to_what_is_best_on_train_tasks_and_no_other_is_looked_at(monkeypatch):
    monkeypatch.setattr(floors, "KERNEL_TASKS", 6)
    fresh = Strokes()
    floor = kernel_density(fresh, shot=5, query=6, seed=3)
    assert set(fresh.asked) == {"train"}
    place = Stream(3).at("floors")
    names = list(fresh.tasks("train"))
    order = place.at("tasks").numpy().permutation(len(names))[:6]
    some = sorted(names[i] for i in order)
    episodes = fresh.episodes(some, shot=5, query=6, rng=place.at("episodes"))
    settings = itertools.product(SMEARS, SHARES, REACHES)
    tried = [KernelFloor(floor.pixels, *one) for one in settings]
    best = min(tried, key=lambda one: float(one.nll(episodes).mean()))
    assert (floor.smear, floor.share, floor.reach) == (best.smear, best.share, best.reach)
    assert floor.pixels.strength == beta_bernoulli(fresh, shot=5, query=6, seed=3).strength


def test_kernels_of_a_task_depend_on_no_other_and_each_domain_counts(source, episodes):
    floor = KernelFloor(beta_bernoulli(source, shot=5, query=6), 0.3, 0.1, 1)
    part = episodes.select([7, 2])
    torch.testing.assert_close(floor.nll(part), floor.nll(episodes)[[7, 2]])
    whole = floor.sample(episodes, 3, Stream(22))["x"].unflatten(0, (24, 3))
    drawn = floor.sample(part, 3, Stream(22))["x"].unflatten(0, (2, 3))
    assert torch.equal(drawn, whole[[7, 2]])
    prior = floor.pixels.prior["x"]
    two = dataclasses.replace(floor, pixels=PixelFloor({"a": prior, "b": prior}, 4.0))
    one = dataclasses.replace(floor, pixels=PixelFloor({"x": prior}, 4.0))
    pairs = ({"a": b["x"], "b": b["x"]} for b in (part.support, part.query, part.query))
    torch.testing.assert_close(two.nll(Episodes(part.tasks, *pairs)), 2 * one.nll(part))


def test_copies_are_the_support_in_turn_and_jittered_ones_lie_near_it(source, episodes):
    plain = Copies(jitter=False).sample(episodes, 12, Stream(24))["x"].unflatten(0, (24, 12))
    support = episodes.support["x"].unflatten(0, (24, 5))
    assert all(torch.equal(plain[:, i], support[:, i % 5]) for i in range(12))
    moved = Copies(jitter=True).sample(episodes, 12, Stream(24))["x"].unflatten(0, (24, 12))
    assert not torch.equal(moved[:, 0], moved[:, 5])  # two of one image differ
    ink = [(x + 1).mean() for x in (moved, plain)]
    assert float(ink[0] / ink[1]) == pytest.approx(1, abs=0.1)

    def gap(a, b):
        return float((a - b).square().mean())

    assert 0 < gap(moved, plain) < 0.7 * gap(moved, plain.roll(1, 0))


def test_a_jittered_copy_is_moved_by_its_pose():
    """A quarter turn and a shift by one of eight pixels, pixel by pixel."""
    x = torch.rand(1, 1, 8, 8, generator=Stream(25).torch()) * 2 - 1
    turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    torch.testing.assert_close(_moved(x, turn), x.rot90(1, (2, 3)))
    shift = torch.tensor([[[1.0, 0.0, 2 / 8], [0.0, 1.0, 0.0]]])
    torch.testing.assert_close(_moved(x, shift)[..., :-1], x[..., 1:])


def test_what_is_black_and_white_remains_so_and_what_is_grey_too(source, episodes):
    hard = dataclasses.replace(episodes, support={"x": episodes.support["x"].sign() + 0.0})
    hard.support["x"][hard.support["x"] == 0] = 1.0
    drawn = Copies(jitter=True).sample(hard, 7, Stream(24))["x"]
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    soft = dataclasses.replace(episodes, support={"x": 0.5 * hard.support["x"]})
    assert len(Copies(jitter=True).sample(soft, 7, Stream(24))["x"].unique()) > 10


def test_a_jittered_copy_depends_on_no_other_task_and_keeps_what_rows_carry(episodes):
    labels = torch.arange(5).repeat(24)
    told = dataclasses.replace(episodes, support={**episodes.support, "y": labels})
    whole = Copies(jitter=True).sample(told, 6, Stream(24))
    part = Copies(jitter=True).sample(told.select([7, 2]), 6, Stream(24))
    assert torch.equal(part["x"].unflatten(0, (2, 6)), whole["x"].unflatten(0, (24, 6))[[7, 2]])
    assert whole["y"].tolist() == [0, 1, 2, 3, 4, 0] * 24
