"""Spectral normalisation: its value, its derivative, and that it remembers nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metasearch.models import GAN
from metasearch.models.base import Learner
from metasearch.models.nets import Conv, Mlp
from metasearch.models.spectral import (
    SpectralConv2d,
    SpectralLinear,
    largest_singular_value,
    unit_norm,
    with_unit_norm,
)
from metasearch.rng import Stream


def matrices(*shape):
    return torch.randn(*shape, generator=Stream(1).at(*shape).torch(), dtype=torch.float64)


def of_rank_one(tasks, rows, columns):
    return matrices(tasks, rows, 1) @ matrices(tasks, 1, columns)


def test_of_a_matrix_of_rank_one_it_is_exact():
    m = of_rank_one(3, 5, 7)
    want = torch.linalg.matrix_norm(m, 2)
    torch.testing.assert_close(largest_singular_value(m), want, rtol=1e-10, atol=0)


@pytest.mark.parametrize("shape", [(4, 1, 64), (4, 16, 16), (4, 32, 256), (2, 256, 784)])
def test_of_random_matrices_it_is_near_and_never_above(shape):
    m = matrices(*shape)
    ratio = largest_singular_value(m) / torch.linalg.matrix_norm(m, 2)
    assert (ratio <= 1 + 1e-12).all()
    assert (ratio > 0.9).all()


def test_its_derivative_is_the_product_of_the_singular_vectors():
    m = of_rank_one(1, 4, 6).requires_grad_()
    (got,) = torch.autograd.grad(largest_singular_value(m).sum(), m)
    u, _, vh = torch.linalg.svd(m[0].detach())
    torch.testing.assert_close(got[0], torch.outer(u[:, 0], vh[0]), rtol=1e-8, atol=1e-10)


def test_a_matrix_of_zeros_stays_zero():
    assert not unit_norm(torch.zeros(2, 3, 4)).any()


def test_each_task_is_normalised_by_its_own_value():
    m = matrices(3, 4, 2, 3, 3)
    whole = unit_norm(m)
    torch.testing.assert_close(whole[1], unit_norm(m[1:2])[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(unit_norm(5 * m), whole)


def test_a_net_keeps_its_weights_and_no_buffer_and_answers_alike_twice():
    net = nn.Sequential(nn.Conv2d(1, 9, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(81, 1))
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    made = with_unit_norm(net)
    assert [type(m) for m in made] == [SpectralConv2d, nn.ReLU, nn.Flatten, SpectralLinear]
    assert list(made.buffers()) == []
    assert made.state_dict().keys() == weights.keys()
    assert all(torch.equal(v, weights[k]) for k, v in made.state_dict().items())
    x = torch.rand(2, 1, 6, 6, generator=Stream(0).torch())
    assert torch.equal(made(x), made(x))


def test_scaling_a_discriminators_weights_changes_nothing_but_for_its_biases():
    family = GAN(latent=3, net=Conv(width=4, norm="none"), spectral=True)
    critic = Learner.create(family, (1, 16, 16), Stream(0)).nets["discriminator"]
    x = torch.rand(3, 1, 16, 16, generator=Stream(0).torch())
    before = critic(x)
    for name, p in critic.named_parameters():
        if name.endswith("weight"):
            p.data *= 7
    torch.testing.assert_close(critic(x), before)


def test_the_generator_stays_as_it_is():
    learner = Learner.create(GAN(latent=3, net=Mlp(hidden=8), spectral=True), (1, 8, 8), Stream(0))
    kinds = {
        name: {type(m) for m in net.modules() if isinstance(m, nn.Linear)}
        for name, net in learner.nets.items()
    }
    assert kinds == {"discriminator": {SpectralLinear}, "generator": {nn.Linear}}
