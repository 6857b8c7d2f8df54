"""Gradients of all tasks in the form a layer has them, and their mean over finite tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metasearch.engine.base import TaskGradients
from metasearch.engine.products import unrounded
from metasearch.engine.sketch import of_product, of_stacked
from metasearch.models.base import Params


@dataclass(frozen=True)
class Averaged:
    """Already averaged over all tasks: one that is not finite spoils it, which shows."""

    mean_of_all: Tensor

    def factors(self) -> tuple[Tensor, ...]:
        """Nothing that could be told apart by task."""
        return ()

    def mean(self, finite: Tensor | None, count: int) -> Tensor:
        """As it is; with a task that is not finite the caller runs the others by themselves."""
        del finite, count
        return self.mean_of_all

    def weighted(self, weights: Tensor) -> Averaged:
        """As it is: what no task moved has no task to weigh."""
        del weights
        return self

    def sketch(self, name: str, dims: int) -> Tensor:
        """Nothing to tell tasks apart by, [1, dims]."""
        del name
        return self.mean_of_all.new_zeros(1, dims, dtype=torch.float32)


@dataclass(frozen=True)
class Stacked:
    """One gradient per task, [T, ...]."""

    each: Tensor

    def factors(self) -> tuple[Tensor, ...]:
        """What has to be finite."""
        return (self.each,)

    def mean(self, finite: Tensor | None, count: int) -> Tensor:
        """Over the finite tasks, or all of them if `finite` is None."""
        kept = self.each if finite is None else self.each[finite]
        return kept.sum(0) / count

    def weighted(self, weights: Tensor) -> Stacked:
        """Each task's times its weight [T]."""
        return Stacked(self.each * weights.reshape(-1, *[1] * (self.each.dim() - 1)))

    def sketch(self, name: str, dims: int) -> Tensor:
        """[T, dims]; see `of_stacked`."""
        return of_stacked(name, self.each, dims)


@dataclass(frozen=True)
class Product:
    """outs^T inputs of each task, for outs [T, r, o] and inputs [T, r, i]: not multiplied out."""

    outs: Tensor
    inputs: Tensor

    def factors(self) -> tuple[Tensor, ...]:
        """What has to be finite."""
        return self.outs, self.inputs

    def mean(self, finite: Tensor | None, count: int) -> Tensor:
        """One product over the rows of all tasks that count."""
        outs, inputs = (
            (x if finite is None else x[finite]).flatten(0, 1) for x in (self.outs, self.inputs)
        )
        return (outs.T @ inputs) / count

    def weighted(self, weights: Tensor) -> Product:
        """Each task's times its weight [T]."""
        return Product(self.outs * weights.reshape(-1, 1, 1), self.inputs)

    def sketch(self, name: str, dims: int) -> Tensor:
        """[T, dims]; see `of_product`."""
        return of_product(name, self.outs, self.inputs, dims)


Piece = Averaged | Stacked | Product


def average(
    found: Mapping[str, Piece], finite: Tensor, rates: Params | None = None
) -> TaskGradients:
    """The mean of every parameter's gradient over the tasks that are finite in all of them."""
    for piece in found.values():
        for x in piece.factors():
            finite = finite & x.flatten(1).sum(1).isfinite()
    count = int(finite.sum())
    which = None if count == len(finite) else finite
    with unrounded(finite):
        values = {name: piece.mean(which, max(count, 1)) for name, piece in found.items()}
    if count == 0:
        values = {name: torch.zeros_like(g) for name, g in values.items()}
    return TaskGradients(values, finite, rates or {})
