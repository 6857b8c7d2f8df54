"""What every implementation is given: a learner, images, and all noise drawn beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.algorithms.base import MetaAlgorithm, all_images, seen_by
from metasearch.algorithms.maml import MAML
from metasearch.algorithms.reptile import Reptile
from metasearch.engine.base import InnerLoop
from metasearch.models.base import GenerativeModel, Learner, Nets, Noise, Params, rows
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Episodes

Method = Literal["maml", "fomaml", "reptile"]
Step = Callable[[], Params]
"""One meta-step: the mean over tasks of the meta-gradient, by full parameter name."""

_RNG = Stream(0).at("benchmark")


@dataclass(frozen=True)
class Case:
    """One meta-step to be timed. Clipping is off: no peer clips each task by itself."""

    label: str  # what the family is called in tables
    family: GenerativeModel
    method: Method
    optimizer: Literal["sgd", "adam"] = "sgd"
    images: int = 5  # that an inner step sees in each task
    side: int = 28
    tasks: int = 16
    steps: int = 5
    lr: float = 1e-3
    goal: float = 1.1  # times the best packaged peer, at least

    @property
    def name(self) -> str:
        """Such as ``conv-vae/fomaml/sgd/5x28``."""
        return f"{self.label}/{self.method}/{self.optimizer}/{self.images}x{self.side}"

    @property
    def algorithm(self) -> MetaAlgorithm:
        """The method as a component of ours."""
        inner = InnerLoop(steps=self.steps, lr=self.lr, optimizer=self.optimizer, clip=0.0)
        if self.method == "reptile":
            return Reptile(inner=inner)
        return MAML(inner=inner, first_order=self.method == "fomaml")


@dataclass(frozen=True)
class Task:
    """What one task learns from, cut out of the meta-batch."""

    support: Batch
    query: Batch
    moves: tuple[tuple[str, Noise], ...]  # player and noise of every inner move, in order
    outer: Mapping[str, Noise]  # player -> noise of its query loss


class Tape:
    """A noise source that draws once per purpose and repeats itself ever after."""

    def __init__(self, family: GenerativeModel, rng: Stream, dtype: torch.dtype) -> None:
        self._family, self._rng, self._dtype = family, rng, dtype
        self._drawn: dict[tuple[str | int, ...], Noise] = {}

    def __call__(self, like: Batch, *purpose: str | int, samples: int = 1) -> Noise:
        """The noise for every row of `like`, which must have as many as the first time."""
        if purpose not in self._drawn:
            # Drawn in one precision, so that a step in another is the same step.
            wide = {d: x.float() for d, x in like.items()}
            noise = self._family.draw(wide, self._rng.at(*purpose), samples=samples)
            self._drawn[purpose] = {k: x.to(self._dtype) for k, x in noise.items()}
        found = self._drawn[purpose]
        if any(x.shape[0] != rows(like) for x in found.values()):
            raise ValueError(f"noise for {purpose} was drawn for another number of rows")
        return found


class Work:
    """A case made concrete; nobody who steps it may change it."""

    def __init__(self, case: Case, dtype: torch.dtype = torch.float32) -> None:
        self.case = case
        self.family = case.family
        self.learner = Learner.create(case.family, (1, case.side, case.side), _RNG.at("init"))
        for net in self.learner.nets.values():
            net.to(dtype)
        self.episodes = _episodes(case, dtype)
        self.noise = Tape(case.family, _RNG.at("noise"), dtype)

    @property
    def second(self) -> bool:
        """Whether the inner steps are differentiated through."""
        return self.case.method == "maml"

    @property
    def shared(self) -> Params:
        """The meta-parameters by full name."""
        return self.learner.parameters()

    @cached_property
    def mine(self) -> dict[str, list[str]]:
        """Player -> full names of its parameters, in the order of `team`."""
        return {
            player: [f"{n}.{p}" for n in nets for p, _ in self.learner.nets[n].named_parameters()]
            for player, nets in self.family.players.items()
        }

    def team(self, player: str) -> Team:
        """A player's nets as one module, which is what packages adapt."""
        return Team({name: self.learner.nets[name] for name in self.family.players[player]})

    @property
    def support(self) -> Batch:
        """What inner steps see, all tasks together."""
        return all_images(self.episodes) if self.case.method == "reptile" else self.episodes.support

    def moves(self) -> Iterator[tuple[str, Noise]]:
        """Every inner move: the player, and its noise for all tasks."""
        for k in range(self.case.steps):
            for turn, player in enumerate(self.family.turns):
                yield player, self.noise(self.support, "inner", k, turn)

    def outer(self) -> dict[str, Noise]:
        """Player -> noise of its query loss, for all tasks; none if no query is used."""
        if self.case.method == "reptile":
            return {}
        return {p: self.noise(self.episodes.query, "outer", p) for p in self.family.players}

    @cached_property
    def tasks(self) -> list[Task]:
        """The meta-batch, task by task."""
        support, query, outer = self.support, self.episodes.query, self.outer()
        return [
            Task(
                self._cut(support, t),
                self._cut(query, t),
                tuple((player, self._cut(noise, t)) for player, noise in self.moves()),
                {player: self._cut(noise, t) for player, noise in outer.items()},
            )
            for t in range(self.case.tasks)
        ]

    def _cut(self, batch: Mapping[str, Tensor], task: int) -> dict[str, Tensor]:
        n = self.case.tasks
        return {k: x.reshape(n, -1, *x.shape[1:])[task].contiguous() for k, x in batch.items()}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The player's mean loss over one task's images."""
        seen = seen_by(player, self.family, nets)
        return self.family.loss(player, seen, batch, noise).mean()


class Team(nn.Module):
    """A player's nets behind one `forward`: ``team("encoder", images)``."""

    def __init__(self, nets: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(nets)

    def forward(self, net: str, *inputs: Tensor) -> Tensor:
        """Call one of the nets."""
        answer: Tensor = self.nets[net](*inputs)
        return answer


def nets_of(teams: Mapping[str, Callable[..., Tensor]], work: Work) -> Nets:
    """What a family's loss asks for, answered by adapted teams."""

    def net(player: str, name: str) -> Callable[..., Tensor]:
        return lambda *inputs: teams[player](name, *inputs)

    return {n: net(player, n) for player, nets in work.family.players.items() for n in nets}


def add(total: Params, names: Sequence[str], found: Sequence[Tensor], tasks: int) -> None:
    """Add one task's share of a mean over tasks."""
    with torch.no_grad():
        for name, x in zip(names, found, strict=True):
            total[name].add_(x, alpha=1 / tasks)


def zeros(work: Work) -> Params:
    """Where a mean over tasks begins."""
    return {name: torch.zeros_like(p) for name, p in work.shared.items()}


def _episodes(case: Case, dtype: torch.dtype) -> Episodes:
    """Smooth random ink at full contrast. Reptile's images are support and query together."""
    whole = case.images
    support, query = (
        (whole - whole // 2, whole // 2) if case.method == "reptile" else (whole, whole)
    )

    def draw(domain: str, part: str, n: int) -> Tensor:
        make = _RNG.at("images", domain, part).torch()
        field = torch.randn(case.tasks * n, 1, case.side + 4, case.side + 4, generator=make)
        return (2.0 * (F.avg_pool2d(field, 5, 1).abs() > 0.25) - 1).to(dtype)

    domains = case.family.domains
    return Episodes(
        tuple(f"task{i}" for i in range(case.tasks)),
        {d: draw(d, "support", support) for d in domains},
        {d: draw(d, "query", query) for d in domains},
        {d: torch.empty(0, 1, case.side, case.side, dtype=dtype) for d in domains},
    )
