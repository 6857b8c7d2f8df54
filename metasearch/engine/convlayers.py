"""Convolutions with weights of their own for each task."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.engine.convolution import Geometry, fold, unfold
from metasearch.engine.layers import TaskLayer


class GroupedConv(TaskLayer):
    """A convolution, or a transposed one, of all tasks as one with T groups."""

    def __init__(
        self, source: nn.Conv2d | nn.ConvTranspose2d, place: str, tasks: int, order: int
    ) -> None:
        super().__init__(source, place, tasks, order)
        self.conv: Callable[..., Tensor] = (
            F.conv_transpose2d if isinstance(source, nn.ConvTranspose2d) else F.conv2d
        )
        self.stride, self.padding = source.stride, source.padding

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        n, size = x.shape[0] // self.tasks, x.shape[2:]
        wide = self.by_task(x).transpose(0, 1).reshape(n, -1, *size)
        y = self.wide(wide)
        y = y.reshape(n, self.tasks, -1, *y.shape[2:]).transpose(0, 1)
        return y.reshape(x.shape[0], *y.shape[2:])

    def wide(self, x: Tensor) -> Tensor:
        """The same on [n, T * in, h, w], the layout in which neighbours can be chained."""
        bias = self.fast.get("bias")
        return self.conv(
            x,
            self.weight().flatten(0, 1),
            None if bias is None else bias.flatten(),
            stride=self.stride,
            padding=self.padding,
            groups=self.tasks,
        )


class ColumnConv(TaskLayer):
    """A convolution of few channels: unfold once, then one batched product."""

    def __init__(self, source: nn.Conv2d, place: str, tasks: int, order: int) -> None:
        super().__init__(source, place, tasks, order)
        self.geometry = geometry(source)

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        kernel, stride, pad = self.geometry
        h, w = ((side + 2 * pad - kernel) // stride + 1 for side in x.shape[2:])
        columns = unfold(x.permute(0, 2, 3, 1), self.geometry)
        flat = columns.reshape(self.tasks, -1, columns.shape[-1])
        weight = self.weight().permute(0, 3, 4, 2, 1).flatten(1, 3)  # [T, k k in, out]
        bias = self.fast.get("bias")
        y = (
            torch.bmm(flat, weight)
            if bias is None
            else torch.baddbmm(bias.unsqueeze(1), flat, weight)
        )
        return y.reshape(x.shape[0], h, w, -1).permute(0, 3, 1, 2)


class ColumnConvTranspose(TaskLayer):
    """A transposed convolution of few channels: one batched product, then fold."""

    def __init__(self, source: nn.ConvTranspose2d, place: str, tasks: int, order: int) -> None:
        super().__init__(source, place, tasks, order)
        self.geometry = geometry(source)

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        kernel, stride, pad = self.geometry
        count, channels, h, w = x.shape
        size = ((h - 1) * stride - 2 * pad + kernel, (w - 1) * stride - 2 * pad + kernel)
        weight = self.fast["weight"].permute(0, 1, 3, 4, 2).flatten(2)  # [T, in, k k out]
        columns = torch.bmm(x.permute(0, 2, 3, 1).reshape(self.tasks, -1, channels), weight)
        y = fold(columns.reshape(count, h * w, -1), size, self.geometry)
        if "bias" in self.fast:
            y = self.by_task(y) + self.fast["bias"][:, None, None, None]
            y = y.flatten(0, 1)
        return y.permute(0, 3, 1, 2)


def geometry(source: nn.Conv2d | nn.ConvTranspose2d) -> Geometry:
    """Kernel side, stride and padding of a square convolution."""
    padding = source.padding
    assert not isinstance(padding, str)
    return source.kernel_size[0], source.stride[0], padding[0]
