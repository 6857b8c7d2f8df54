"""Norms, rectifiers, embeddings and recurrent cells with weights of their own for each task."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.engine.layers import TaskLayer
from metasearch.engine.products import linear


class TaskGroupNorm(TaskLayer):
    """Group normalisation with a scale and a shift of its own for each task.

    Instance normalisation is the same with a group per channel.
    """

    def __init__(
        self, source: nn.GroupNorm | nn.InstanceNorm2d, place: str, tasks: int, order: int
    ) -> None:
        super().__init__(source, place, tasks, order)
        self.groups: int = (
            source.num_features if isinstance(source, nn.InstanceNorm2d) else source.num_groups
        )
        self.eps = source.eps

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, c, ...], each image by itself."""
        y = F.group_norm(x, self.groups, eps=self.eps)
        return affine(self, y, (self.tasks, 1, -1, *[1] * (x.dim() - 2)))


class TaskLayerNorm(TaskLayer):
    """Layer normalisation with a scale and a shift of its own for each task."""

    def __init__(self, source: nn.LayerNorm, place: str, tasks: int, order: int) -> None:
        super().__init__(source, place, tasks, order)
        self.shape, self.eps = source.normalized_shape, source.eps

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, ..., *shape]."""
        y = F.layer_norm(x, self.shape, eps=self.eps)
        between = [1] * (x.dim() - len(self.shape))
        return affine(self, y, (self.tasks, *between, *self.shape))


def affine(layer: TaskLayer, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Scale and shift by task, of those weights that the layer has."""
    if not layer.fast:
        return y
    out = layer.by_task(y) * layer.fast["weight"].reshape(shape)
    if "bias" in layer.fast:
        out = out + layer.fast["bias"].reshape(shape)
    return out.reshape(y.shape)


class TaskPReLU(TaskLayer):
    """A rectifier whose slope below zero is learned, by each task for itself."""

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, c, ...] to the same shape; one slope, or one per channel."""
        slope = self.fast["weight"].reshape(self.tasks, 1, -1, *[1] * (x.dim() - 2))
        y = self.by_task(x)
        return torch.where(y > 0, y, slope * y).reshape(x.shape)


class TaskCode(TaskLayer):
    """Numbers of its own for each task, heard with every vector."""

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, d] to [T * n, d + size]."""
        y = self.by_task(x)
        code = self.fast["value"].unsqueeze(1).expand(-1, y.shape[1], -1)
        return torch.cat([y, code], 2).flatten(0, 1)


class TaskEmbedding(TaskLayer):
    """A table of vectors of its own for each task."""

    def forward(self, index: Tensor) -> Tensor:
        """Integers [T * n, ...] to vectors [T * n, ..., d].

        Raises:
            IndexError: one is not in the table, on the CPU; it would be in the next task's.
        """
        table = self.fast["weight"]
        size = table.shape[1]
        if index.is_cpu and ((index < 0) | (index >= size)).any():
            raise IndexError(f"{self.place.rstrip('.')} has rows 0 to {size - 1}, and was asked for"
                             f" {int(index.min())} to {int(index.max())}")  # fmt: skip
        first = torch.arange(self.tasks, device=index.device) * size
        shifted = self.by_task(index) + first.reshape(-1, *[1] * index.dim())
        return F.embedding(shifted, table.flatten(0, 1)).reshape(*index.shape, -1)


class TaskGRUCell(TaskLayer):
    """A gated recurrent cell; the gates as `torch.nn.GRUCell` defines them."""

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Inputs [T * n, in] and state [T * n, h] to the next state [T * n, h]."""
        size = self.fast["weight_hh"].shape[2]
        h = x.new_zeros(x.shape[0], size) if hidden is None else hidden
        gates = [self._linear(value, kind).chunk(3, -1) for value, kind in ((x, "ih"), (h, "hh"))]
        (r_x, z_x, n_x), (r_h, z_h, n_h) = gates
        reset, update = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        new = torch.tanh(n_x + reset * n_h)
        out = (1 - update) * new + update * self.by_task(h)
        return out.reshape(h.shape)

    def _linear(self, x: Tensor, kind: str) -> Tensor:
        y, bias = (
            linear(self.by_task(x), self.fast[f"weight_{kind}"]),
            self.fast.get(f"bias_{kind}"),
        )
        return y if bias is None else y + bias.unsqueeze(1)
