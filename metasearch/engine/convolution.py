"""Convolutions with weights of their own for each task, to any order of derivative.

Two formulations, both exact. A grouped convolution is the fastest where input and output have
several channels; with very few, libraries run it far below their peak, and unfolding the image
into columns followed by a batched matrix product wins.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

Geometry = tuple[int, int, int]  # kernel side, stride, padding


def unfold(x: Tensor, geometry: Geometry) -> Tensor:
    """Images [n, h, w, c] to columns [n, places, k * k * c]; `fold` is its transpose."""
    columns: Tensor = _Unfold.apply(x, geometry)  # type: ignore[no-untyped-call]
    return columns


def fold(columns: Tensor, size: tuple[int, int], geometry: Geometry) -> Tensor:
    """Add columns [n, places, k * k * c] up into images [n, h, w, c] of this size."""
    images: Tensor = _Fold.apply(columns, size, geometry)  # type: ignore[no-untyped-call]
    return images


class _Unfold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: Geometry) -> Tensor:
        ctx.size, ctx.geometry = (x.shape[1], x.shape[2]), geometry
        kernel, stride, pad = geometry
        x = (F.pad(x, (0, 0, pad, pad, pad, pad)) if pad else x).contiguous()
        n, h, w, c = x.shape
        rows, columns = (h - kernel) // stride + 1, (w - kernel) // stride + 1
        a, b, d, e = x.stride()
        view = x.as_strided(
            (n, rows, columns, kernel, kernel, c), (a, stride * b, stride * d, b, d, e)
        )
        return view.reshape(n, rows * columns, kernel * kernel * c)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return fold(grads[0].contiguous(), ctx.size, ctx.geometry), None


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, columns: Tensor, size: tuple[int, int], geometry: Geometry) -> Tensor:
        ctx.geometry = geometry
        kernel, stride, pad = geometry
        h, w = size[0] + 2 * pad, size[1] + 2 * pad
        n, _, width = columns.shape
        c = width // kernel**2
        rows, cols = (h - kernel) // stride + 1, (w - kernel) // stride + 1
        if kernel % stride == 0 and h % stride == 0 and w % stride == 0:
            out = _add_blocks(columns, (n, rows, cols, c), (h, w), kernel, stride)
        else:
            out = columns.new_zeros(n, h, w, c)
            parts = columns.reshape(n, rows, cols, kernel, kernel, c)
            for i in range(kernel):
                for j in range(kernel):
                    down, right = (
                        slice(i, i + stride * rows, stride),
                        slice(j, j + stride * cols, stride),
                    )
                    out[:, down, right] += parts[:, :, :, i, j]
        return out[:, pad : pad + size[0], pad : pad + size[1]]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return unfold(grads[0], ctx.geometry), None, None


def _add_blocks(
    columns: Tensor,
    places: tuple[int, int, int, int],
    size: tuple[int, int],
    kernel: int,
    stride: int,
) -> Tensor:
    """Whole stride-by-stride blocks at a time: (k / s)^2 additions instead of k^2 strided ones."""
    (n, rows, cols, c), (h, w), m = places, size, kernel // stride
    parts = columns.reshape(n, rows, cols, m, stride, m, stride, c)
    out = columns.new_zeros(n, h // stride, stride, w // stride, stride, c)
    for i in range(m):
        for j in range(m):
            block = parts[:, :, :, i, :, j].transpose(2, 3)
            out[:, i : i + rows, :, j : j + cols] += block
    return out.reshape(n, h, w, c)
