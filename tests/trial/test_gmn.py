"""The few-shot likelihood protocol: who is drawn, what is given, and nats of a known answer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from metasearch.algorithms.base import Adapter
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.errors import ConfigError, DataError
from metasearch.models import GAN, VAE, SetVAE
from metasearch.models.base import Learner
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.scores.floors import PixelFloor
from metasearch.trial import gmn
from metasearch.trial.gmn import Protocol, Sequences, curves, few_shot_likelihood, floors
from tests.games import Blobs

SHORT = Protocol(episodes=20, length=4, importance=3)


def adapter(family, **inner) -> Adapter:
    return Adapter(Learner.create(family, (1, 8, 8), Stream(0)), InnerLoop(**inner))


def small(family, **settings):
    return family(latent=2, net=Mlp(hidden=8), **settings)


def test_classes_are_drawn_alike_and_images_repeat_with_replacement_only():
    data = Blobs()
    drawn = {
        sampler: Sequences.draw(data, "test", Protocol(episodes=200), sampler)
        for sampler in gmn.SAMPLERS
    }
    one, two = drawn.values()
    assert one.classes == two.classes and set(one.classes) == set(data.tasks("test"))
    assert one.images.shape == (200, 10, 1, 8, 8)

    def repeats(sequences):
        """The share of episodes whose last image is among those before it."""
        same = (sequences.images[:, :-1] == sequences.images[:, -1:]).flatten(2).all(2).any(1)
        return float(same.float().mean())

    assert repeats(drawn["without_replacement"]) == 0
    assert repeats(drawn["with_replacement"]) == pytest.approx(1 - 0.95**9, abs=0.1)


def test_classes_that_are_too_small_are_told_before_anything_is_judged():
    looked = []

    def nats(episodes, t):
        looked.append(t)
        return torch.zeros(len(episodes.tasks))

    with pytest.raises(DataError, match=r"has \d+ images; an episode takes 60 different ones"):
        curves(nats, Blobs(), "test", Protocol(episodes=3, length=60))
    assert looked == []


def test_the_next_image_is_judged_after_those_before_it():
    sequences = Sequences.draw(Blobs(), "test", SHORT, "without_replacement")
    for t in range(4):
        parts = list(sequences.chunks(t))
        assert [len(part.tasks) for part in parts] == [16, 4]
        support = torch.cat([part.support["x"] for part in parts]).reshape(20, t, 1, 8, 8)
        query = torch.cat([part.query["x"] for part in parts])
        assert torch.equal(support, sequences.images[:, :t])
        assert torch.equal(query, sequences.images[:, t])


def test_what_is_told_is_the_mean_over_episodes_with_an_interval():
    data = Blobs()
    told = curves(lambda e, t: torch.arange(len(e.tasks)) + 10.0 * t, data, "test", SHORT)
    want = np.mean([*range(16), *range(4)])
    for curve in told.values():
        assert [at["mean"] for at in curve] == pytest.approx([want + 10 * t for t in range(4)])
        assert all(at["low"] < at["mean"] < at["high"] and at["diverged"] == 0 for at in curve)


def test_a_diverged_episode_counts_as_the_worst():
    def nats(episodes, t):
        found = torch.ones(len(episodes.tasks), dtype=torch.float64)
        found[0], found[1] = torch.inf, 7.0
        return found

    (at, *_) = curves(nats, Blobs(), "test", SHORT)["with_replacement"]
    assert at["diverged"] == 2 and at["mean"] == pytest.approx((4 * 7 + 16) / 20)


@pytest.mark.parametrize("rows", [7, 48, 4096])
def test_samples_taken_in_parts_make_one_bound(rows, monkeypatch):
    family = small(VAE)
    made, data = adapter(family, steps=0), Blobs()
    sequences = Sequences.draw(data, "test", SHORT, "without_replacement")
    (plain, _) = sequences.chunks(2)
    monkeypatch.setattr(gmn, "ROWS", rows)
    found = gmn._nats(made, Loop(), plain, Protocol(importance=10))
    step = max(1, rows // 16)
    weights = []
    for at in range(0, 10, step):
        count = min(step, 10 - at)
        noise = gmn.noise_per_task(family, Stream(0).at("gmn", "noise"), plain.tasks)
        draws = noise(plain.query, "importance", at, samples=count)
        for j in range(count):
            single = {**draws, "eps": draws["eps"][:, j : j + 1]}
            weights.append(family.log_likelihood(made.learner.nets, plain.query, single))
    want = -torch.stack(weights).double().logsumexp(0) + np.log(10)
    torch.testing.assert_close(found, want.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", [small(VAE), small(SetVAE, features=4)], ids=lambda f: f.name)
def test_before_the_first_image_nothing_is_adapted_and_after_it_both_engines_agree(family):
    made, data = adapter(family, steps=2, lr=0.05), Blobs()
    one, two = (few_shot_likelihood(made, e, data, "test", SHORT) for e in (Loop(), Batched()))
    for sampler in gmn.SAMPLERS:
        for a, b in zip(one[sampler], two[sampler], strict=True):
            assert a["mean"] == pytest.approx(b["mean"], rel=1e-4)
    still = few_shot_likelihood(made.still(), Loop(), data, "test", SHORT)
    curve, before = one["without_replacement"], still["without_replacement"]
    assert curve[0] == before[0]
    assert curve[3]["mean"] != before[3]["mean"]


def test_floors_know_as_much_as_the_recipe_at_each_t():
    data = Blobs()
    told = floors(data, "test", SHORT)
    blobs = told["Beta-Bernoulli pixels"]["without_replacement"]
    marginal = told["pixel marginal"]["without_replacement"]
    assert blobs[0]["mean"] == pytest.approx(marginal[0]["mean"])
    assert blobs[3]["mean"] < blobs[1]["mean"] < blobs[0]["mean"]
    kernels = told["kernel density"]["without_replacement"]
    assert kernels[0] == marginal[0]
    assert max(kernels[t]["mean"] for t in (1, 2, 3)) < kernels[0]["mean"]
    prior = {"x": torch.full((1, 8, 8), 0.5, dtype=torch.float64)}
    blind = PixelFloor(prior, float("inf"))
    coin = curves(lambda e, t: blind.nll(e), data, "test", SHORT)["with_replacement"]
    assert [at["mean"] for at in coin] == pytest.approx([64 * np.log(2)] * 4)


def test_what_cannot_be_judged_so_is_refused_in_words():
    data = Blobs()
    with pytest.raises(ConfigError, match="'gan' cannot say how probable"):
        few_shot_likelihood(adapter(GAN(net=Mlp(hidden=4))), Loop(), data, "test", SHORT)
    with pytest.raises(DataError, match="20 images; an episode takes 30"):
        Sequences.draw(data, "test", dataclasses.replace(SHORT, length=30), "without_replacement")
    with pytest.raises(ValueError, match="episodes must be at least 1"):
        Protocol(episodes=0)
