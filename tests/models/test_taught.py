"""Losses that draw a model to what its peers make of the same images."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from metasearch.models import AAE, VAE
from metasearch.models.base import Learner, example
from metasearch.models.nets import Mlp
from metasearch.models.taught import PEERS, Taught, divergence
from metasearch.rng import Stream

SHAPE = (1, 6, 6)
NET = Mlp(hidden=8)


def test_the_divergence_is_that_of_bernoulli_pixels():
    made, target = (torch.rand(2, 5, *SHAPE, dtype=torch.float64) * 1.9 - 0.95).unbind()
    one, other = (Bernoulli((x + 1) / 2) for x in (made, target))
    torch.testing.assert_close(divergence(made, target), kl_divergence(one, other).sum((1, 2, 3)))


def test_it_is_nothing_where_pixels_are_the_same_and_finite_where_they_are_opposite():
    black, white = -torch.ones(1, *SHAPE), torch.ones(1, *SHAPE)
    assert float(divergence(black, black)) == 0
    assert 0 < float(divergence(black, white)) < torch.inf


@pytest.mark.parametrize("family", [VAE(latent=3, net=NET), AAE(latent=3, net=NET)])
def test_a_loss_is_the_familys_and_kappa_times_the_divergence(family):
    kappa = 0.7
    student = Taught(family, kappa)
    learner = Learner.create(student, SHAPE, Stream(0).at("nets"))
    batch = example(student.domains, SHAPE, 4, Stream(0).at("batch"))
    noise = student.draw(batch, Stream(0).at("noise"))
    apart = divergence(family.reconstruct(learner.nets, batch)["x"], batch[PEERS])
    assert (apart > 0).all()
    for player in student.players:
        own = family.loss(player, learner.nets, batch, noise)
        found = student.loss(player, learner.nets, batch, noise)
        torch.testing.assert_close(found, own + kappa * apart)
