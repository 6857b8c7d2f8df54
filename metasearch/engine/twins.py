"""Task-aware twins of ordinary nets: which layer becomes which."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from metasearch.engine.activations import SiLU
from metasearch.engine.base import InnerLoop, Order
from metasearch.engine.convlayers import (
    ColumnConv,
    ColumnConvTranspose,
    GroupedConv,
    GroupedConvTranspose,
    TurnedConv,
)
from metasearch.engine.layers import LowRankLinear, StackedLinear, StillLayer, TaskLayer
from metasearch.engine.otherlayers import (
    TaskCode,
    TaskEmbedding,
    TaskGroupNorm,
    TaskGRUCell,
    TaskLayerNorm,
    TaskPReLU,
)
from metasearch.engine.spectral import (
    SpectralColumnConv,
    SpectralGroupedConv,
    SpectralStackedLinear,
)
from metasearch.models.code import Code
from metasearch.models.spectral import SpectralConv2d, SpectralLinear

WIDE = 8  # channels from which on a grouped convolution beats columns and a batched product
ROWS_PER_STEP = 10  # images a step is expected to have; only the choice of formulation hangs on it


@dataclass(frozen=True)
class Maker:
    """Turns one layer into its task-aware twin."""

    tasks: int
    order: Order
    inner: InnerLoop
    moving: frozenset[str]  # full names of the parameters that inner steps move
    low_rank: bool  # where it pays

    def __call__(self, source: nn.Module, place: str) -> TaskLayer | None:
        """The twin of the layer at ``<net>.<path>.``, or None for one that is not known."""
        own = [place + name for name, _ in source.named_parameters(recurse=False)]
        if not own:  # a norm without scales, a container: the same for all tasks
            return None
        if not self.moving.intersection(own):
            return StillLayer(source, place, self.tasks, self.order)
        kind = self._kind(source)
        return None if kind is None else kind(source, place, self.tasks, self.order)

    def _kind(self, source: nn.Module) -> Callable[..., TaskLayer] | None:
        if type(source) is nn.Linear:
            return self._linear(source)
        if isinstance(source, nn.Conv2d | nn.ConvTranspose2d) and _plain(source):
            return _convolution(source)
        if type(source) is nn.InstanceNorm2d and not source.track_running_stats:
            return TaskGroupNorm
        if type(source) is nn.Embedding and _plain_table(source):
            return TaskEmbedding
        return _SIMPLE.get(type(source))

    def _linear(self, source: nn.Linear) -> Callable[..., TaskLayer]:
        """Low rank while the history is thinner than the weights, and only where it is exact."""
        inner = self.inner
        plain = inner.optimizer == "sgd" and not inner.momentum and not inner.proximal
        plain = plain and inner.rates != "per_parameter"
        ins, outs = source.in_features, source.out_features
        thin = inner.steps * ROWS_PER_STEP / 2 <= ins * outs / (ins + outs)
        if self.low_rank and plain and thin:
            return partial(LowRankLinear, steps=inner.steps)
        return StackedLinear


_SIMPLE: dict[type[nn.Module], type[TaskLayer]] = {
    nn.GroupNorm: TaskGroupNorm,
    nn.LayerNorm: TaskLayerNorm,
    nn.GRUCell: TaskGRUCell,
    nn.PReLU: TaskPReLU,
    Code: TaskCode,
    SpectralLinear: SpectralStackedLinear,
}


def _convolution(source: nn.Conv2d | nn.ConvTranspose2d) -> type[TaskLayer]:
    wide = min(source.in_channels, source.out_channels) >= WIDE
    if isinstance(source, SpectralConv2d):
        return SpectralGroupedConv if wide else SpectralColumnConv
    if isinstance(source, nn.ConvTranspose2d):
        return GroupedConvTranspose if wide else ColumnConvTranspose
    if wide:
        return GroupedConv
    narrows = source.stride[0] == 1 and source.in_channels >= WIDE > source.out_channels
    padding, reach = source.padding[0], source.kernel_size[0] - 1
    return TurnedConv if narrows and int(padding) <= reach else ColumnConv


def _plain_table(source: nn.Embedding) -> bool:
    rules = (source.padding_idx, source.max_norm)
    return not (source.sparse or source.scale_grad_by_freq) and all(x is None for x in rules)


def _plain(source: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    square = all(len(set(x)) == 1 for x in (source.kernel_size, source.stride))
    return (
        type(source) in {nn.Conv2d, nn.ConvTranspose2d, SpectralConv2d}
        and square
        and not isinstance(source.padding, str)
        and len(set(source.padding)) == 1
        and set(source.dilation) == {1}
        and source.groups == 1
        and source.padding_mode == "zeros"
        and not any(source.output_padding)
    )


def twin_of(source: nn.Module, place: str, make: Maker) -> nn.Module:
    """The module with its layers replaced; what else has no weights is shared with the original."""
    made = make(source, place)
    if made is not None:
        return made
    if any(True for _ in source.parameters(recurse=False)):
        raise UnknownLayer(type(source).__name__)
    if not source._modules:
        return SiLU() if type(source) is nn.SiLU else source
    twin = copy.copy(source)
    twin._modules = {
        name: None if child is None else twin_of(child, f"{place}{name}.", make)
        for name, child in source._modules.items()
    }
    return twin


class UnknownLayer(Exception):  # noqa: N818 - not an error: the loop takes over
    """A layer with weights that has no task-aware twin."""
