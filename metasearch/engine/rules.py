"""Inner optimisers: the direction of a step, times a rate that may be learned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metasearch.engine.base import InnerLoop, rate_at
from metasearch.models.base import Params

Direction = Callable[[str, Tensor], Tensor]
"""(name, gradient) -> where to go, for a rate of 1. Remembers by name."""


class Rule:
    """What to subtract from a weight, for one player in one adaptation.

    Works on one task's gradients and on stacked ones alike, since all is elementwise.
    """

    def __init__(self, inner: InnerLoop, rates: Params) -> None:
        self.steps = 0  # moves so far
        self.learns = bool(rates)
        self._inner = inner
        self._rates = rates
        self._direction = _direction(inner)
        self._fused: dict[str, torch.optim.Adam] = {}

    def __call__(self, name: str, gradient: Tensor) -> Tensor:
        """The change of the weight called `name` in this move, differentiable."""
        rate = rate_at(self._rates, self._inner, name, self.steps)
        return rate * self._direction(name, gradient)

    def move(self, name: str, weight: Tensor, gradient: Tensor) -> None:
        """The same in place, for a leaf: stacked weights are large, and each pass counts."""
        if self._inner.optimizer == "adam":
            if name not in self._fused:
                self._fused[name] = torch.optim.Adam([weight], lr=self._inner.lr, fused=True)
            weight.grad = gradient.contiguous()  # the fused step reads memory, not strides
            self._fused[name].step()
            weight.grad = None
        else:
            with torch.no_grad():
                weight.sub_(self._direction(name, gradient), alpha=self._inner.lr)


def _direction(inner: InnerLoop) -> Direction:
    if inner.optimizer == "adam":
        return _adam()
    return _momentum(inner.momentum) if inner.momentum else lambda _, g: g


def _momentum(share: float) -> Direction:
    """Heavy ball: v = share v + g."""
    memory: dict[str, Tensor] = {}

    def direction(name: str, g: Tensor) -> Tensor:
        memory[name] = g if name not in memory else share * memory[name] + g
        return memory[name]

    return direction


def _adam() -> Direction:
    """Kingma & Ba 2015, algorithm 1. Differs: 1e-30 under the root, for its derivative at zero.

    The two corrections of bias are taken into the root, in as few passes over stacked weights as
    can be differentiated.
    """
    memory: dict[str, tuple[int, Tensor, Tensor]] = {}

    def direction(name: str, g: Tensor) -> Tensor:
        if name not in memory:
            t, m, v = 1, 0.1 * g, 0.001 * g * g
        else:
            t, m, v = memory[name]
            t, m, v = t + 1, torch.lerp(m, g, 0.1), (0.999 * v).addcmul(g, g, value=0.001)
        memory[name] = (t, m, v)
        first, second = 1 - 0.9**t, 1 - 0.999**t
        least = g.new_full((), 1e-30 * first**2)
        return m / (torch.add(least, v, alpha=first**2 / second).sqrt() + 1e-8 * first)

    return direction
