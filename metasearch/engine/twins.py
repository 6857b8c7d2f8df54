"""Task-aware twins of ordinary nets: which layer becomes which."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import nn

from metasearch.engine.base import InnerLoop, Order
from metasearch.engine.layers import (
    ColumnConv,
    ColumnConvTranspose,
    GroupedConv,
    LowRankLinear,
    StackedLinear,
    TaskGroupNorm,
    TaskLayer,
)

WIDE = 8  # channels from which on a grouped convolution beats columns and a batched product
ROWS_PER_STEP = 10  # images a step is expected to have; only the choice of formulation hangs on it


@dataclass(frozen=True)
class Maker:
    """Turns one layer into its task-aware twin."""

    tasks: int
    order: Order
    inner: InnerLoop
    low_rank: bool  # where it pays

    def __call__(self, source: nn.Module) -> TaskLayer | None:
        """The twin, or None for a layer that is not known."""
        kind = type(source)
        if kind is nn.Linear:
            assert isinstance(source, nn.Linear)
            return self._linear(source)
        if kind is nn.GroupNorm:
            assert isinstance(source, nn.GroupNorm)
            return TaskGroupNorm(source, self.tasks, self.order)
        if isinstance(source, nn.Conv2d | nn.ConvTranspose2d) and _plain(source):
            wide = min(source.in_channels, source.out_channels) >= WIDE
            if wide:
                return GroupedConv(source, self.tasks, self.order)
            if isinstance(source, nn.Conv2d):
                return ColumnConv(source, self.tasks, self.order)
            return ColumnConvTranspose(source, self.tasks, self.order)
        return None

    def _linear(self, source: nn.Linear) -> TaskLayer:
        ins, outs = source.in_features, source.out_features
        rank = self.inner.steps * ROWS_PER_STEP
        linear = self.low_rank and self.inner.optimizer == "sgd"
        if not linear or rank / 2 > ins * outs / (ins + outs):
            return StackedLinear(source, self.tasks, self.order)
        return LowRankLinear(source, self.tasks, self.order, rank)


def _plain(source: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    square = all(len(set(x)) == 1 for x in (source.kernel_size, source.stride))
    return (
        type(source) in {nn.Conv2d, nn.ConvTranspose2d}
        and square
        and not isinstance(source.padding, str)
        and len(set(source.padding)) == 1
        and set(source.dilation) == {1}
        and source.groups == 1
        and source.padding_mode == "zeros"
        and not any(source.output_padding)
    )


def twin_of(source: nn.Module, make: Maker) -> nn.Module:
    """The module with its layers replaced; what has no weights is shared with the original."""
    made = make(source)
    if made is not None:
        return made
    if any(True for _ in source.parameters(recurse=False)):
        raise UnknownLayer(type(source).__name__)
    if not source._modules:
        return source
    twin = copy.copy(source)
    twin._modules = {
        name: None if child is None else twin_of(child, make)
        for name, child in source._modules.items()
    }
    return twin


class UnknownLayer(Exception):  # noqa: N818 - not an error: the loop takes over
    """A layer with weights that has no task-aware twin."""
