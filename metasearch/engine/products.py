"""Linear products and convolutions with weights of their own for each task, and their derivatives.

Each comes as three operations: an answer from inputs and weights, inputs from an answer and
weights, weights from an answer and inputs. The derivative of any of the three is made of the other
two, so every order of derivative runs through kernels that are chosen here, by what was measured:
a library's own choice for a derivative can be six times slower than the same numbers asked for in
another shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torch.autograd import Function
from torch.nn.grad import conv2d_weight

Grads = tuple[Tensor | None, ...]

_FEW_ROWS = 8  # up to which wide answers are made with the weights on the left
_LONE = 160  # rows of a task times channels from which on strided kernels like one task at a time


def unrounded(like: Tensor) -> torch.autocast:
    """A context in which products keep the precision of what goes in, whatever is on outside.

    What is small beside what it is added to, or added up over many, is not to be rounded first.
    """
    return torch.autocast(like.device.type, enabled=False)


def linear(x: Tensor, w: Tensor) -> Tensor:
    """Rows x [T, n, in] times the transposes of w [T, out, in]: [T, n, out]."""
    found: Tensor = _Linear.apply(x, w)  # type: ignore[no-untyped-call]
    return found


class _Linear(Function):
    """Answers [T, n, out] = x w^T."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        if x.shape[1] < _FEW_ROWS and w.shape[1] > w.shape[2]:
            turned = torch.bmm(w, x.transpose(1, 2)).transpose(1, 2)
            return turned.clone(memory_format=torch.contiguous_format)  # never a view
        return torch.bmm(x, w.transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        (d,), (x, w), (for_x, for_w) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return _back(d, w) if for_x else None, _outer(d, x) if for_w else None


class _LinearInputs(Function):
    """Inputs [T, n, in] = y w. From the left, as autograd has it, it takes five times as long."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(y, w)
        return torch.bmm(y, w)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        (d,), (y, w), (for_y, for_w) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return linear(d, w) if for_y else None, _outer(y, d) if for_w else None


class _LinearWeights(Function):
    """Weights [T, out, in] = y^T x, contiguous: an optimiser passes over them."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(y, x)
        return torch.bmm(y.transpose(1, 2), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        (d,), (y, x), (for_y, for_x) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return linear(x, d) if for_y else None, _back(y, d) if for_x else None


def _back(y: Tensor, w: Tensor) -> Tensor:
    found: Tensor = _LinearInputs.apply(y, w)  # type: ignore[no-untyped-call]
    return found


def _outer(y: Tensor, x: Tensor) -> Tensor:
    found: Tensor = _LinearWeights.apply(y, x)  # type: ignore[no-untyped-call]
    return found


class Geometry(NamedTuple):
    """Of a square convolution."""

    stride: int
    padding: int


def convolve(x: Tensor, w: Tensor, how: Geometry) -> Tensor:
    """Images [T * n, in, h, h] with w [T, out, in, k, k] to [T * n, out, h', h']."""
    found: Tensor = _Conv.apply(x, w, how)  # type: ignore[no-untyped-call]
    return found


def spread(y: Tensor, w: Tensor, how: Geometry, sides: Sequence[int]) -> Tensor:
    """The transpose of `convolve`: y [T * n, out, h', w'] to images [T * n, in, *sides]."""
    found: Tensor = _ConvInputs.apply(y, w, how, tuple(sides))  # type: ignore[no-untyped-call]
    return found


def _weights(y: Tensor, x: Tensor, how: Geometry, shape: torch.Size) -> Tensor:
    found: Tensor = _ConvWeights.apply(y, x, how, shape)  # type: ignore[no-untyped-call]
    return found


class _Conv(Function):
    """Answers: one convolution with a group for each task."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, how: Geometry) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.how = how
        y = F.conv2d(_grouped(x, len(w)), w.flatten(0, 1), None, *how, groups=len(w))
        return _flat(y, len(w))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        (d,), (x, w), (for_x, for_w, _) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return (
            spread(d, w, ctx.how, x.shape[2:]) if for_x else None,
            _weights(d, x, ctx.how, w.shape) if for_w else None,
            None,
        )


class _ConvInputs(Function):
    """Inputs: a transposed convolution, of all tasks at once or of one after the other.

    With a stride, the library's grouped form reaches two thirds of the lone form's rate once each
    task has enough to do; with little, the calls are what takes time.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, w: Tensor, how: Geometry, sides: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(y, w)
        ctx.how = how
        less = 2 * how.padding - w.shape[3]
        more = [s - (n - 1) * how.stride + less for s, n in zip(sides, y.shape[2:], strict=True)]
        tasks, rows = len(w), len(y) // len(w)
        enough = rows * min(w.shape[1:3]) >= _LONE
        if y.is_cpu and how.stride > 1 and enough:
            pairs = zip(y.reshape(tasks, rows, *y.shape[1:]), w, strict=True)
            return torch.cat([F.conv_transpose2d(a, b, None, *how, more) for a, b in pairs])
        kernel = w.flatten(0, 1)
        x = F.conv_transpose2d(_grouped(y, tasks), kernel, None, *how, more, groups=tasks)
        return _flat(x, tasks)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        (d,), (y, w), (for_y, for_w, *_) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return (
            convolve(d, w, ctx.how) if for_y else None,
            _weights(y, d, ctx.how, w.shape) if for_w else None,
            None,
            None,
        )


class _ConvWeights(Function):
    """Weights [T, out, in, k, k] from answers and inputs."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, how: Geometry, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(y, x)
        ctx.how = how
        if x.dtype != y.dtype:  # autocast leaves this operation to whoever calls it
            lower = min(x.dtype, y.dtype, key=lambda kind: kind.itemsize)
            x, y = x.to(lower), y.to(lower)
        tasks, wide = shape[0], (shape[0] * shape[1], *shape[2:])
        inputs, answers = _grouped(x, tasks), _grouped(y, tasks)
        found: Tensor = conv2d_weight(inputs, wide, answers, *how, groups=tasks)  # type: ignore[no-untyped-call]
        return found.reshape(shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Grads:
        (d,), (y, x), (for_y, for_x, *_) = grads, ctx.saved_tensors, ctx.needs_input_grad
        return (
            convolve(x, d, ctx.how) if for_y else None,
            spread(y, d, ctx.how, x.shape[2:]) if for_x else None,
            None,
            None,
        )


def _grouped(x: Tensor, tasks: int) -> Tensor:
    """[T * n, c, h, h] to [n, T * c, h, h], tasks as groups of channels."""
    return x.reshape(tasks, -1, *x.shape[1:]).transpose(0, 1).flatten(1, 2)


def _flat(x: Tensor, tasks: int) -> Tensor:
    """[n, T * c, h, h] to [T * n, c, h, h]."""
    return x.reshape(len(x), tasks, -1, *x.shape[2:]).transpose(0, 1).flatten(0, 1)
