"""Activations with kernels of their own: the same numbers as torch's, to every order asked for."""

from __future__ import annotations

import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from metasearch.engine.activations import SiLU
from metasearch.engine.base import InnerLoop
from metasearch.engine.batched import Batched
from metasearch.models import VAE
from metasearch.models.base import Learner
from metasearch.models.nets import Mlp
from metasearch.rng import Stream


def derivatives(silu, orders):
    """The function and its derivatives at the same points, each of the one before."""
    x = torch.linspace(-9, 9, 37, dtype=torch.float64, requires_grad=True)
    weigh = torch.linspace(0.5, 1.5, 37, dtype=torch.float64)
    found = [silu(x)]
    for _ in range(orders):
        found += torch.autograd.grad((weigh * found[-1]).sum(), x, create_graph=True)
    return found


def test_derivatives_up_to_the_fourth_are_those_of_torch():
    for mine, theirs in zip(derivatives(SiLU(), 4), derivatives(nn.SiLU(), 4), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-13)


def test_derivatives_are_finite_differences():
    x = torch.linspace(-4, 4, 7, dtype=torch.float64, requires_grad=True)
    assert gradcheck(SiLU(), (x,))
    assert gradgradcheck(SiLU(), (x,))


def test_twins_have_it():
    learner = Learner.create(VAE(latent=3, net=Mlp(hidden=9)), (1, 8, 8), Stream(0))
    adapted = Batched().open(learner, 2, InnerLoop(steps=1))
    kinds = [type(layer) for net in adapted.nets.values() for layer in net.modules()]
    assert SiLU in kinds
    assert nn.SiLU not in kinds
