"""Convolutions with weights of their own for each task, to any order of derivative.

Two formulations, both exact. A grouped convolution is the fastest where input and output have
several channels; with very few, libraries run it far below their peak, and unfolding the image
into columns followed by a batched product wins. Both take and give images as the rest of a net
has them in memory, [n, c, h, w]: with other strides, what is between them takes twice as long.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.engine.layers import TaskLayer
from metasearch.engine.products import Geometry, convolve, spread


class GroupedConv(TaskLayer):
    """A convolution of all tasks as one with T groups."""

    def __init__(
        self, source: nn.Conv2d | nn.ConvTranspose2d, place: str, tasks: int, order: int
    ) -> None:
        super().__init__(source, place, tasks, order)
        padding = source.padding
        assert not isinstance(padding, str)
        self.kernel, self.how = source.kernel_size[0], Geometry(source.stride[0], padding[0])

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, h] to [T * n, out, h', h']."""
        return self.shifted(convolve(x, self.weight(), self.how))

    def shifted(self, y: Tensor) -> Tensor:
        """With the bias, if there is one."""
        bias = self.fast.get("bias")
        if bias is None:
            return y
        return (self.by_task(y) + bias.reshape(self.tasks, 1, -1, 1, 1)).reshape(y.shape)


class GroupedConvTranspose(GroupedConv):
    """The same of a transposed convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, h] to [T * n, out, h', h']."""
        more = self.kernel - 2 * self.how.padding
        sides = [(n - 1) * self.how.stride + more for n in x.shape[2:]]
        return self.shifted(spread(x, self.weight(), self.how, sides))


class ColumnConv(TaskLayer):
    """A convolution of few channels: unfold, then one product per image."""

    def __init__(
        self, source: nn.Conv2d | nn.ConvTranspose2d, place: str, tasks: int, order: int
    ) -> None:
        super().__init__(source, place, tasks, order)
        padding = source.padding
        assert not isinstance(padding, str)
        self.kernel, self.stride, self.padding = source.kernel_size[0], source.stride[0], padding[0]

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        reach = 2 * self.padding - self.kernel
        h, w = ((side + reach) // self.stride + 1 for side in x.shape[2:])
        columns = F.unfold(x, self.kernel, padding=self.padding, stride=self.stride)
        weight = self.by_image(self.weight().flatten(2), x)  # [T * n, out, in k k]
        bias = self.fast.get("bias")
        y = (
            torch.bmm(weight, columns)
            if bias is None
            else torch.baddbmm(self.by_image(bias.unsqueeze(2), x), weight, columns)
        )
        return y.reshape(len(y), -1, h, w)

    def by_image(self, w: Tensor, x: Tensor) -> Tensor:
        """[T, a, b] to [T * n, a, b]: few numbers, repeated for every image."""
        return w.unsqueeze(1).expand(-1, len(x) // self.tasks, -1, -1).flatten(0, 1)


class ColumnConvTranspose(ColumnConv):
    """A transposed convolution of few channels: one product per image, then fold."""

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        reach = self.kernel - 2 * self.padding
        h, w = ((side - 1) * self.stride + reach for side in x.shape[2:])
        weight = self.by_image(self.weight().flatten(2).transpose(1, 2), x)
        columns = torch.bmm(weight, x.flatten(2))  # [T * n, out k k, places]
        y = F.fold(columns, (h, w), self.kernel, padding=self.padding, stride=self.stride)
        if "bias" in self.fast:
            y = y + self.by_image(self.fast["bias"].unsqueeze(2), x).unsqueeze(3)
        return y


class TurnedConv(ColumnConvTranspose):
    """A convolution of stride 1 to few channels, as a transposed one with its kernel turned round.

    What is added up has as many channels as come out, and columns as many as go in.
    """

    def __init__(self, source: nn.Conv2d, place: str, tasks: int, order: int) -> None:
        super().__init__(source, place, tasks, order)
        self.padding = self.kernel - 1 - self.padding

    def weight(self) -> Tensor:
        """[T, in, out, k, k]."""
        return self.fast["weight"].flip(3, 4).transpose(1, 2)
