"""Products with weights of each task: the plain formula, and every derivative of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from metasearch.engine import products
from metasearch.engine.base import InnerLoop
from metasearch.engine.products import Geometry, convolve, linear, spread
from metasearch.engine.rules import Rule
from metasearch.rng import Stream


def randn(*shape: int) -> torch.Tensor:
    make = Stream(4).at(*shape).torch()
    return torch.randn(*shape, generator=make, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("shape", [(2, 1, 3, 5), (3, 4, 5, 2), (1, 9, 2, 3)], ids=str)
def test_rows_times_weights_of_their_task_and_all_derivatives(shape):
    tasks, rows, ins, outs = shape
    x, w = randn(tasks, rows, ins), randn(tasks, outs, ins)
    torch.testing.assert_close(linear(x, w), torch.einsum("tni,toi->tno", x, w))
    assert gradcheck(linear, (x, w), fast_mode=True)
    assert gradgradcheck(linear, (x, w), fast_mode=True)


@pytest.mark.parametrize("lone", [0, 10**9], ids=["one task at a time", "grouped"])
@pytest.mark.parametrize(
    ("side", "kernel", "how"),
    [
        (6, 4, Geometry(2, 1)),
        (6, 3, Geometry(2, 0)),
        (5, 3, Geometry(1, 1)),
        (4, 1, Geometry(1, 1)),
    ],
    ids=str,
)
def test_convolutions_of_each_task_and_all_derivatives(monkeypatch, side, kernel, how, lone):
    monkeypatch.setattr(products, "_LONE", lone)
    x, w = randn(4, 3, side, side), randn(2, 2, 3, kernel, kernel)
    y = convolve(x, w, how)
    each = [F.conv2d(x[2 * t : 2 * t + 2], w[t], None, *how) for t in range(2)]
    torch.testing.assert_close(y, torch.cat(each))
    assert gradcheck(lambda x, w: convolve(x, w, how), (x, w), fast_mode=True)
    assert gradgradcheck(lambda x, w: convolve(x, w, how), (x, w), fast_mode=True)
    d = y.detach().requires_grad_()
    assert gradcheck(lambda d, w: spread(d, w, how, (side, side)), (d, w), fast_mode=True)
    assert gradgradcheck(lambda d, w: spread(d, w, how, (side, side)), (d, w), fast_mode=True)


def test_adams_written_derivative_is_that_of_its_steps():
    gradients = [randn(3, 4) * (k + 1) for k in range(3)]

    def moves(*found: torch.Tensor) -> torch.Tensor:
        rule = Rule(InnerLoop(optimizer="adam", lr=0.1), {}, 1)
        return torch.stack([rule("w", g) for g in found])

    optimizer = torch.optim.Adam([weight := torch.zeros(3, 4, dtype=torch.float64)], lr=0.1)
    for g, move in zip(gradients, moves(*gradients), strict=True):
        before, weight.grad = weight.clone(), g.detach()
        optimizer.step()
        torch.testing.assert_close(before - weight, move)
    assert gradcheck(moves, [g.detach().requires_grad_() for g in gradients], fast_mode=True)


def test_adam_in_blocks_is_adam(monkeypatch):
    g = randn(5, 7)
    whole, cut = (Rule(InnerLoop(optimizer="adam"), {}, 1) for _ in range(2))
    expected = [whole("w", g * k) for k in (1, 2)]
    monkeypatch.setattr("metasearch.engine.rules._BLOCK", 4)
    found = [cut("w", g * k) for k in (1, 2)]
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)
    (a,), (b,) = (torch.autograd.grad(x[1].sum(), g) for x in (expected, found))
    torch.testing.assert_close(a, b, rtol=1e-12, atol=0)
