"""Inner optimisers: the direction of a step, times a rate that may be learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metasearch.engine.base import InnerLoop, decay, rate_at
from metasearch.models.base import Params

Direction = Callable[[str, Tensor, float], Tensor]
"""(name, gradient, rate) -> where to go, times the rate. Remembers by name."""


class Rule:
    """What to subtract from a weight, for one player in one adaptation.

    Works on one task's gradients and on stacked ones alike, since all is elementwise.
    """

    def __init__(self, inner: InnerLoop, rates: Params, moves: int) -> None:
        self.steps = 0  # moves so far
        self._moves = max(moves, 1)  # of all steps
        self.learns = bool(rates)
        self._inner = inner
        self._rates = rates
        self._direction = _direction(inner)
        self._fused: dict[str, torch.optim.Adam] = {}

    def __call__(self, name: str, gradient: Tensor) -> Tensor:
        """The change of the weight called `name` in this move, differentiable."""
        rate = rate_at(self._rates, self._inner, name, self.steps) * self._left
        if isinstance(rate, Tensor):
            return rate * self._direction(name, gradient, 1.0)
        return self._direction(name, gradient, rate)

    @property
    def _left(self) -> float:
        """The share of the rate that the schedule leaves at this move."""
        return decay(self._inner.schedule, self.steps / self._moves)

    def move(self, name: str, weight: Tensor, gradient: Tensor) -> None:
        """The same in place, for a leaf: stacked weights are large, and each pass counts."""
        if self._inner.optimizer == "adam":
            if name not in self._fused:
                self._fused[name] = torch.optim.Adam([weight], lr=self._inner.lr, fused=True)
            self._fused[name].param_groups[0]["lr"] = self._inner.lr * self._left
            weight.grad = gradient.contiguous()  # the fused step reads memory, not strides
            self._fused[name].step()
            weight.grad = None
        else:
            with torch.no_grad():
                weight.sub_(self._direction(name, gradient, 1.0), alpha=self._inner.lr * self._left)


def _direction(inner: InnerLoop) -> Direction:
    if inner.optimizer == "adam":
        return _adam()
    return _momentum(inner.momentum) if inner.momentum else lambda _, g, rate: _times(rate, g)


def _times(rate: float, x: Tensor) -> Tensor:
    return x if rate == 1 else rate * x


def _momentum(share: float) -> Direction:
    """Heavy ball: v = share v + g."""
    memory: dict[str, Tensor] = {}

    def direction(name: str, g: Tensor, rate: float) -> Tensor:
        memory[name] = g if name not in memory else share * memory[name] + g
        return _times(rate, memory[name])

    return direction


def _adam() -> Direction:
    """Kingma & Ba 2015, algorithm 1. Differs: 1e-30 under the root, for its derivative at zero."""
    memory: dict[str, tuple[int, Tensor, Tensor]] = {}

    def direction(name: str, g: Tensor, rate: float) -> Tensor:
        t, m, v = memory.get(name) or (0, torch.zeros_like(g), torch.zeros_like(g))
        way: Tensor
        way, m, v = _AdamStep.apply(g.contiguous(), m, v, t + 1, rate)  # type: ignore[no-untyped-call]
        memory[name] = (t + 1, m, v)
        return way

    return direction


_BLOCK = 2**16
"""Numbers of each tensor in a block, so that a processor's cache holds what is between passes."""


class _AdamStep(torch.autograd.Function):
    """One step of Adam as one node, whose derivative is written out.

    Stacked weights are large and all here is elementwise: what counts is how often memory is
    passed over. Recorded operation by operation, both ways pass over it three times as often.
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, m: Tensor, v: Tensor, t: int, rate: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient and moments to `rate` times the direction, and the moments after `t` steps."""
        first, second = 1 - 0.9**t, 1 - 0.999**t
        # The corrections of bias are taken into the root.
        ctx.first, ctx.corrected, ctx.rate = first, first**2 / second, rate
        found = tuple(torch.empty_like(g) for _ in range(3))
        for old_m, old_v, g_, way, m_, v_ in _blocks(m, v, g, *found):
            torch.lerp(old_m, g_, 0.1, out=m_)
            torch.mul(old_v, 0.999, out=v_).addcmul_(g_, g_, value=0.001)
            torch.mul(v_, ctx.corrected, out=way).add_(1e-30 * first**2).sqrt_().add_(1e-8 * first)
            torch.div(m_, way, out=way).mul_(rate)
        ctx.save_for_backward(g, *found[1:])
        return found[0], found[1], found[2]

    @staticmethod
    @once_differentiable  # inner steps differentiate in the weights after this, never through it
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The derivative in gradient and moments."""
        g, m, v = ctx.saved_tensors
        found = tuple(torch.empty_like(g) for _ in range(3))
        for g_, m_, v_, *of, of_g, of_m, of_v in _blocks(g, m, v, *grads, *found):
            root = v_.mul(ctx.corrected).add_(1e-30 * ctx.first**2).sqrt_()
            below = root.add(1e-8 * ctx.first)
            per_m = torch.div(of[0], below).mul_(ctx.rate)
            torch.add(of[1], per_m, out=of_m)
            per_m.mul_(m_).div_(below)
            torch.addcdiv(of[2], per_m, root, value=-0.5 * ctx.corrected, out=of_v)
            torch.mul(of_m, 0.1, out=of_g).addcmul_(g_, of_v, value=0.002)
            of_m.mul_(0.9)
            of_v.mul_(0.999)
        return *found, None, None


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same stretch of each, one after another; on other devices than the CPU all at once."""
    size = _BLOCK if tensors[0].is_cpu else max(tensors[0].numel(), 1)
    return zip(*(torch.split(x.reshape(-1), size) for x in tensors), strict=True)
