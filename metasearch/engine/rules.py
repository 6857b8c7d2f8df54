"""Inner optimisers: the direction of a step, times a rate that may be learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metasearch.engine.base import InnerLoop, Order, rate_at
from metasearch.models.base import Params

Direction = Callable[[str, Tensor], Tensor]
"""(name, gradient) -> where to go, for a rate of 1. Remembers by name."""


class Rule:
    """What to subtract from a weight, for one player in one adaptation.

    Works on one task's gradients and on stacked ones alike, since all is elementwise.
    """

    def __init__(self, inner: InnerLoop, order: Order, rates: Params) -> None:
        self.steps = 0  # moves so far
        self.learns = bool(rates)
        self._inner = inner
        self._rates = rates
        self._direction = _direction(inner, in_place=order == 1)

    def __call__(self, name: str, gradient: Tensor) -> Tensor:
        """The change of the weight called `name` in this move."""
        direction = self._direction(name, gradient)
        rate = rate_at(self._rates, self._inner, name, self.steps)
        return direction * rate if isinstance(rate, Tensor) else rate * direction


def _direction(inner: InnerLoop, *, in_place: bool) -> Direction:
    if inner.optimizer == "adam":
        return _adam() if in_place else _differentiable_adam()
    return _momentum(inner.momentum) if inner.momentum else lambda _, g: g


def _momentum(share: float) -> Direction:
    """Heavy ball: v = share v + g."""
    memory: dict[str, Tensor] = {}

    def direction(name: str, g: Tensor) -> Tensor:
        memory[name] = g if name not in memory else share * memory[name] + g
        return memory[name]

    return direction


def _differentiable_adam() -> Direction:
    """Kingma & Ba 2015, algorithm 1; epsilon under the root, so the derivative at 0 is finite."""
    memory: dict[str, tuple[int, Tensor, Tensor]] = {}

    def direction(name: str, g: Tensor) -> Tensor:
        t, m, v = memory.get(name, (0, torch.zeros_like(g), torch.zeros_like(g)))
        t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        memory[name] = (t, m, v)
        return (m / (1 - 0.9**t)) / (v / (1 - 0.999**t) + 1e-16).sqrt()

    return direction


def _adam() -> Direction:
    """The same in place: stacked moments are large, and each pass over memory counts."""
    memory: dict[str, list[Any]] = {}

    def direction(name: str, g: Tensor) -> Tensor:
        if name not in memory:
            memory[name] = [0, torch.zeros_like(g), torch.zeros_like(g)]
        held = memory[name]
        held[0] += 1
        t, m, v = held
        m.lerp_(g, 0.1)
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        out = v + 1e-16 * (1 - 0.999**t)  # the root's epsilon, before it is scaled
        return out.rsqrt_().mul_(m).mul_((1 - 0.999**t) ** 0.5 / (1 - 0.9**t))

    return direction
