"""Adapting several learners to one task, and using them as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from metasearch.algorithms.base import Adapter
from metasearch.engine.base import Adapted, Engine, Order, TaskGradients
from metasearch.models.base import Learner, Nets, Noise, NoiseSource, Params
from metasearch.models.mixture import mixture_of, part_of
from metasearch.tasks.base import Batch


@dataclass(frozen=True)
class MixtureAdapter:
    """Adapters with shares that sum to 1; used as if it were one of them."""

    parts: tuple[Adapter, ...]
    weights: tuple[float, ...]

    @cached_property
    def learner(self) -> Learner:
        """The mixture as one family, its nets those of the parts."""
        family = mixture_of([part.learner.family for part in self.parts], self.weights)
        nets = {
            f"{i}.{name}": net
            for i, part in enumerate(self.parts)
            for name, net in part.learner.nets.items()
        }
        return Learner(family, self.parts[0].learner.shape, nets)

    def adapt(self, engine: Engine, support: Batch, tasks: int, noise: NoiseSource) -> Adapted:
        """Run every part's own inner loop on each task's support images."""
        done = [
            part.adapt(engine, support, tasks, _of_part(noise, i))
            for i, part in enumerate(self.parts)
        ]
        return MixtureAdapted(self.learner, tasks, tuple(done))

    def still(self) -> MixtureAdapter:
        """The same without any step: what there is before adaptation."""
        return MixtureAdapter(tuple(part.still() for part in self.parts), self.weights)


AnyAdapter = Adapter | MixtureAdapter


@dataclass
class MixtureAdapted:
    """Adapted parts, seen as one; it is used, not trained."""

    learner: Learner
    tasks: int
    parts: tuple[Adapted, ...] = field(default=())

    @property
    def nets(self) -> Nets:
        """Those of all parts."""
        return {
            f"{i}.{name}": net
            for i, part in enumerate(self.parts)
            for name, net in part.nets.items()
        }

    @property
    def gradients(self) -> int:
        """Spent by all parts."""
        return sum(part.gradients for part in self.parts)

    def step(self, player: str, loss: Tensor) -> None:
        """One inner step of one part's player."""
        part, own = player.split(".", 1)
        self.parts[int(part)].step(own, loss)

    def play(self, losses: Mapping[str, Tensor]) -> None:
        """One simultaneous step of every part."""
        for i, part in enumerate(self.parts):
            part.play(part_of(losses, i))

    def meta_gradient(self, losses: Mapping[str, Tensor], order: Order) -> TaskGradients:
        """Every part's own."""
        return self._joined([p.meta_gradient(part_of(losses, i), order) for i, p in self._each()])

    def displacement(self, weights: Tensor | None = None) -> TaskGradients:
        """Every part's own."""
        return self._joined([part.displacement(weights) for _, part in self._each()])

    def sketch(self, dims: int) -> Tensor:
        """Side by side, [tasks, parts * dims]."""
        return torch.cat([part.sketch(dims) for part in self.parts], 1)

    def state(self, task: int) -> Params:
        """The fast weights of one task in all parts."""
        return {f"{i}.{n}": x for i, part in self._each() for n, x in part.state(task).items()}

    def _each(self) -> list[tuple[int, Adapted]]:
        return list(enumerate(self.parts))

    def _joined(self, found: list[TaskGradients]) -> TaskGradients:
        return TaskGradients(
            {f"{i}.{n}": x for i, part in enumerate(found) for n, x in part.values.items()},
            torch.stack([part.finite for part in found]).all(0),
            {f"{i}.{n}": x for i, part in enumerate(found) for n, x in part.rates.items()},
        )


def _of_part(noise: NoiseSource, part: int) -> NoiseSource:
    def draw(like: Batch, *purpose: str | int, samples: int = 1) -> Noise:
        return part_of(noise(like, *purpose, samples=samples), part)

    return draw
