"""Activations whose second derivative is asked for, by gradient penalties and second-order MAML."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn
from torch.autograd import Function

_slope = torch.ops.aten.silu_backward  # (d, x) to d times the derivative at x, in one pass


class SiLU(nn.Module):
    """`nn.SiLU` with derivatives in few passes over memory, to any order.

    Where a graph of the derivative is kept, autograd makes it of a dozen elementwise operations.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        found: Tensor = _SiLU.apply(x)  # type: ignore[no-untyped-call]
        return found


class _SiLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.silu(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        found: Tensor = _Slope.apply(*grads, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return found


class _Slope(Function):
    """What comes back times the derivative at x: linear in it."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(d, x)
        found: Tensor = _slope(d, x)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (e,), (d, x) = grads, ctx.saved_tensors
        for_d, for_x = ctx.needs_input_grad
        back: Tensor | None = _Slope.apply(e, x) if for_d else None  # type: ignore[no-untyped-call]
        return back, _bend(d * e, x) if for_x else None


def _bend(d: Tensor, x: Tensor) -> Tensor:
    """Times the second derivative at x: s (1 - s) (2 + x - 2 x s), with s the sigmoid."""
    s = x.sigmoid()
    curved: Tensor = torch.ops.aten.sigmoid_backward(d, s)
    return curved * torch.addcmul(x + 2, x, s, value=-2)
