"""Reconstruction and probes of codes, by cases with known answers."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from metasearch.errors import ConfigError
from metasearch.models import GAN
from metasearch.models.base import Learner
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from metasearch.scores.probe import Probe
from metasearch.scores.reconstruction import Reconstruction
from tests.scores.fakes import Factor, Fitted, subject

PROBES = [Probe(), Probe(kind="nearest")]


@dataclasses.dataclass(frozen=True)
class Blank(Factor):
    """Sends every image to a grey page, and every code to nothing."""

    def reconstruct(self, nets, batch):
        return {"x": torch.zeros_like(batch["x"])}

    def encode(self, nets, batch):
        return torch.zeros(batch["x"].shape[0], 3)


@dataclasses.dataclass(frozen=True)
class Identity(Factor):
    def reconstruct(self, nets, batch):
        return {"x": batch["x"]}


def test_reconstruction_is_the_squared_error_of_light():
    grey = subject(4, family=Blank())
    x = grey.episodes.query["x"].double()
    want = 100 * (x / 2).square().unflatten(0, (4, -1)).mean((1, 2, 3, 4))
    torch.testing.assert_close(Reconstruction()(grey), want)
    assert (Reconstruction()(subject(4, family=Identity())) == 0).all()


def labelled(codes_of, tasks=6):
    """A subject whose images say in their first pixel which task, in the second which image."""
    given = subject(tasks)
    sides = {}
    for side in ("support", "query"):
        x = getattr(given.episodes, side)["x"].clone().unflatten(0, (tasks, -1))
        x[..., 0, 0] = torch.arange(tasks, dtype=x.dtype).reshape(-1, 1, 1)
        sides[side] = {"x": x.flatten(0, 1)}

    @dataclasses.dataclass(frozen=True)
    class Coded(Factor):
        def encode(self, nets, batch):
            return codes_of(batch["x"])

    learner = Learner(Coded(), given.adapted.learner.shape, {})
    episodes = dataclasses.replace(given.episodes, **sides)
    fitted = Fitted(learner, given.adapted.means)
    return dataclasses.replace(given, adapted=fitted, episodes=episodes)


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.kind)
def test_codes_that_name_the_class_are_probed_without_an_error(probe):
    told = labelled(
        lambda x: torch.eye(6)[x[:, 0, 0, 0].long()] + 0.01 * x[:, 0, 1:3, :3].flatten(1)
    )
    assert (probe(told) == 1).all()


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.kind)
def test_codes_that_say_nothing_are_at_chance(probe):
    make = Stream(0).torch()
    told = labelled(lambda x: torch.randn(len(x), 8, generator=make), tasks=20)
    assert probe(told).mean() < 0.15  # chance is 0.05
    silent = probe(subject(5, family=Blank()))
    assert silent.mean() == pytest.approx(0.2)


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.kind)
def test_the_units_of_a_code_do_not_matter(probe):
    units = torch.tensor([1.0, 1000.0, 0.01, 3.0], dtype=torch.float64)
    one = labelled(lambda x: x.flatten(1)[:, :4].double())
    two = labelled(lambda x: x.flatten(1)[:, :4].double() * units + 5)
    assert torch.equal(probe(one), probe(two))
    assert 1 / 6 < probe(one).mean() <= 1


def test_the_linear_probe_is_least_squares():
    told = labelled(lambda x: x.flatten(1)[:, :4], tasks=3)
    sides = [told.episodes.support["x"], told.episodes.query["x"]]
    known, asked = (x.flatten(1)[:, :4].double() for x in sides)
    middle, unit = known.mean(0), known.std(0, correction=0)
    rows, more = ((x - middle) / unit for x in (known, asked))
    target = torch.eye(3, dtype=torch.float64).repeat_interleave(5, 0)
    weights = torch.linalg.lstsq(torch.cat([rows, torch.ones(15, 1)], 1), target).solution
    want = torch.cat([more, torch.ones(24, 1)], 1) @ weights
    right = want.argmax(1).reshape(3, 8) == torch.arange(3)[:, None]
    assert Probe(ridge=0)(told).tolist() == right.double().mean(1).tolist()


@pytest.mark.parametrize("score", [Reconstruction(), Probe()], ids=lambda s: s.name)
def test_a_family_without_codes_is_refused_in_words(score):
    family = GAN(net=Mlp(hidden=4))
    given = subject(3)
    learner = Learner(family, given.adapted.learner.shape, {})
    bare = dataclasses.replace(given, adapted=Fitted(learner, given.adapted.means))
    with pytest.raises(ConfigError, match="'gan' has no encoder"):
        score(bare)
