"""Inner optimisers on stacked weights: SGD, and Adam with a memory that starts with each task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metasearch.engine.base import InnerLoop, Order

Rule = Callable[[str, Tensor], Tensor]
"""(name of a stacked weight, its gradient [T, ...]) -> what to subtract."""


def make_rule(inner: InnerLoop, order: Order) -> Rule:
    """SGD, or Adam with a memory that starts anew (Kingma & Ba 2015, algorithm 1)."""
    if inner.optimizer == "sgd":
        return lambda _, g: inner.lr * g
    return _differentiable_adam(inner.lr) if order == 2 else _adam(inner.lr)


def _differentiable_adam(lr: float) -> Rule:
    """Epsilon stands under the root, which keeps the derivative finite at zero."""
    memory: dict[str, tuple[int, Tensor, Tensor]] = {}

    def change(name: str, g: Tensor) -> Tensor:
        t, m, v = memory.get(name, (0, torch.zeros_like(g), torch.zeros_like(g)))
        t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        memory[name] = (t, m, v)
        return lr * (m / (1 - 0.9**t)) / (v / (1 - 0.999**t) + 1e-16).sqrt()

    return change


def _adam(lr: float) -> Rule:
    """The same in place: stacked moments are large, and each pass over memory counts."""
    memory: dict[str, list[Any]] = {}

    def change(name: str, g: Tensor) -> Tensor:
        if name not in memory:
            memory[name] = [0, torch.zeros_like(g), torch.zeros_like(g), torch.empty_like(g)]
        held = memory[name]
        held[0] += 1
        t, m, v, out = held
        m.lerp_(g, 0.1)
        v.mul_(0.999).addcmul_(g, g, value=0.001)
        torch.add(v, 1e-16 * (1 - 0.999**t), out=out)  # the root's epsilon, before it is scaled
        scale = lr * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        return out.rsqrt_().mul_(m).mul_(scale)

    return change
