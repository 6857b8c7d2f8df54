"""Small families with closed forms, and task sources without files, for the tests of every room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from metasearch.algorithms.base import inner_losses
from metasearch.models.base import Learner
from metasearch.registry import component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Episodes, LeakReport, Split


class Point(nn.Module):
    """A single vector of parameters; called on rows, it answers the vector for each."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.phi = nn.Parameter(torch.randn(dim, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.phi.expand(x.shape[0], -1)


def matrix(dim: int) -> Tensor:
    """A fixed symmetric positive definite matrix."""
    a = torch.randn(dim, dim, dtype=torch.float64, generator=Stream(7).torch())
    return a @ a.T / dim + 0.5 * torch.eye(dim, dtype=torch.float64)


@component
class Quadratic:
    """L_i = (phi - c_i)' A (phi - c_i) / 2 with c_i the "image"; method's A1-A8 have closed forms."""

    name: Literal["quadratic"] = "quadratic"
    linear: bool = False  # L_i = c_i' phi instead

    @property
    def domains(self) -> tuple[str, ...]:
        return ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        return {"point": ("point",)}

    @property
    def turns(self) -> tuple[str, ...]:
        return ("point",)

    def build(self, shape: tuple[int, int, int]) -> Mapping[str, nn.Module]:
        return {"point": Point(shape[2])}

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Mapping[str, Tensor]:
        n = like["x"].shape[0]
        return {"z": torch.randn(n, samples, generator=rng.torch(), dtype=torch.float64)}

    def loss(self, player: str, nets, batch: Batch, noise) -> Tensor:
        c = batch["x"].flatten(1)
        phi = nets["point"](c)
        if self.linear:
            return (c * phi).sum(1)
        gap = phi - c
        return 0.5 * torch.einsum("ni,ij,nj->n", gap, matrix(c.shape[1]), gap)

    def generate(self, nets, given: Batch, noise) -> Batch:
        phi = nets["point"](noise["z"])
        return {"x": phi.reshape(-1, 1, 1, phi.shape[1])}


def quadratic(dim: int = 4, **settings) -> Learner:
    return Learner.create(Quadratic(**settings), (1, 1, dim), Stream(3).at("init"))


def points(tasks: int, dim: int, shot: int = 1, query: int = 1, *, same: bool = False) -> Episodes:
    """Episodes whose every image of a task is its point c_i (or the query another point)."""
    rng = Stream(11).at("points", tasks, dim)
    support = torch.randn(tasks, 1, 1, 1, dim, generator=rng.at("s").torch(), dtype=torch.float64)
    other = torch.randn(tasks, 1, 1, 1, dim, generator=rng.at("q").torch(), dtype=torch.float64)
    query_c = support if same else other

    def flat(c: Tensor, n: int) -> Tensor:
        return c.expand(-1, n, -1, -1, -1).reshape(-1, 1, 1, dim)

    names = tuple(f"g/t{i}" for i in range(tasks))
    return Episodes(
        names,
        {"x": flat(support, shot)},
        {"x": flat(query_c, query)},
        {"x": torch.empty(0, 1, 1, dim, dtype=torch.float64)},
    )


@dataclass(frozen=True)
class Blobs:
    """Bright squares whose place and size make the class: an instant task source."""

    size: int = 8
    per_split: Mapping[str, int] = field(
        default_factory=lambda: {"train": 12, "inner": 2, "search": 4, "confirm": 4, "test": 4}
    )
    domains: tuple[str, ...] = ("x",)
    fingerprint: str = "blobs"
    leaks: LeakReport = field(default_factory=lambda: LeakReport(0, 0, (), ()))

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1, self.size, self.size)

    def tasks(self, split: Split) -> Sequence[str]:
        return [f"{split}/{i:02d}" for i in range(self.per_split[split])]

    def images(self, task: str) -> Batch:
        return {"x": self._draw(task, 20, Stream(0).at("all"))}

    def episodes(self, tasks, *, shot: int, query: int, rng: Stream, anchor: int = 0) -> Episodes:
        n = shot + query + anchor
        images = torch.stack([self._draw(task, n, rng) for task in tasks])

        def cut(a: int, b: int) -> Batch:
            return {"x": images[:, a:b].flatten(0, 1)}

        return Episodes(tuple(tasks), cut(0, shot), cut(shot, shot + query), cut(shot + query, n))

    def _draw(self, task: str, n: int, rng: Stream) -> Tensor:
        place = Stream(1).at(task).numpy().integers(0, self.size - 3, 2)
        make = rng.at(task).torch()
        x = -torch.ones(n, 1, self.size, self.size)
        x[:, :, place[0] : place[0] + 3, place[1] : place[1] + 3] = 1
        return (x + 0.1 * torch.randn(x.shape, generator=make)).clamp(-1, 1)


@component
class BlobSource:
    """The component that opens `Blobs`."""

    name: Literal["blobs"] = "blobs"
    shot: int = 3
    query: int = 4
    anchor: int = 4
    size: int = 8

    def open(self) -> Blobs:
        return Blobs(size=self.size)


def adapt(engine, learner, inner, support, tasks, noise, *, order=1, rates=None):
    """Open, play the inner steps, and return the adapted tasks."""
    adapted = engine.open(learner, tasks, inner, order=order, rates=rates)
    inner_losses(adapted, inner, support, noise)
    return adapted
