"""What scores are tested on: a family whose likelihood is known, plain features, drawn strokes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, Normal

from metasearch.models.base import Learner, noise_per_task, rows
from metasearch.registry import component
from metasearch.rng import Stream
from metasearch.scores.base import Subject
from metasearch.tasks.base import Batch, Episodes, LeakReport, Split

SIDE = 4
SHAPE = (1, SIDE, SIDE)
NO_LEAKS = LeakReport(0, 0, (), ())
OMNIGLOT = Path(__file__).parents[2].parent / "shared/data/omniglot/omniglot_background_28.npz"


@component
class Factor:
    """p(x) = N(mean, w w' + s^2 I) by one latent; q(z|x) is the posterior, or off it."""

    name: Literal["factor"] = "factor"
    off: float = 0.0  # shift of q's mean
    wide: float = 1.0  # factor of q's deviation
    noise: float = 0.3  # s

    domains = ("x",)
    players: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"factor": ("mean",)})
    turns = ("factor",)

    @property
    def loading(self) -> Tensor:
        return torch.linspace(-0.4, 0.4, SIDE * SIDE, dtype=torch.float64)

    def build(self, shape):
        return {}

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1):
        n, make = rows(like), rng.torch()
        return {
            "eps": torch.randn(n, samples, generator=make, dtype=torch.float64),
            "z": torch.randn(n, 1, generator=make, dtype=torch.float64),
            "pixels": torch.randn(n, SIDE * SIDE, generator=make, dtype=torch.float64),
        }

    def loss(self, player, nets, batch, noise):
        return -self.log_likelihood(nets, batch, noise)

    def generate(self, nets, given, noise):
        flat = nets["mean"](noise["z"]) + noise["z"] * self.loading + self.noise * noise["pixels"]
        return {"x": flat.reshape(-1, *SHAPE)}

    def log_likelihood(self, nets, batch, noise):
        gap = batch["x"].flatten(1).double() - nets["mean"](batch["x"])
        precision = 1 + self.loading.square().sum() / self.noise**2
        mean = (gap @ self.loading / self.noise**2 / precision + self.off).unsqueeze(1)
        q = Normal(mean, self.wide / math.sqrt(precision), validate_args=False)
        z = mean + q.scale * noise["eps"]
        x = Normal(z.unsqueeze(2) * self.loading, self.noise, validate_args=False)
        log_w = (
            x.log_prob(gap.unsqueeze(1)).sum(2)
            + Normal(0, 1, validate_args=False).log_prob(z)
            - q.log_prob(z)
        )
        return log_w.logsumexp(1) - math.log(log_w.shape[1])

    def encode(self, nets, batch):
        return batch["x"].flatten(1)

    def reconstruct(self, nets, batch):
        mean = nets["mean"](batch["x"])
        weight = self.loading / self.loading.norm()
        along = (batch["x"].flatten(1).double() - mean) @ weight
        return {"x": (mean + along.unsqueeze(1) * weight).reshape(-1, *SHAPE)}

    def translate(self, nets, batch):
        return {"x": nets["mean"](batch["x"]).reshape(-1, *SHAPE)}

    def exact(self, means: Tensor, images: Tensor) -> Tensor:
        """log p of images [tasks, n, ...] under each task's mean [tasks, d]; [tasks, n]."""
        p = LowRankMultivariateNormal(
            means.unsqueeze(1),
            self.loading.unsqueeze(1),
            torch.full((SIDE * SIDE,), self.noise**2, dtype=torch.float64),
        )
        return p.log_prob(images.flatten(2).double())


@dataclass
class Fitted:
    """An `Adapted` whose one net answers each task's mean image."""

    learner: Learner
    means: Tensor  # [tasks, d]

    @property
    def gradients(self) -> int:
        return 12 * self.tasks

    @property
    def tasks(self) -> int:
        return len(self.means)

    @property
    def nets(self):
        return {"mean": lambda x: self.means.repeat_interleave(x.shape[0] // self.tasks, 0)}


@dataclass(frozen=True)
class Plain:
    """Pixels as features, or some linear function of them."""

    scale: float = 1.0
    matrix: Tensor = field(
        default_factory=lambda: torch.eye(SIDE * SIDE, dtype=torch.float64) / SIDE
    )
    fingerprint: str = "plain"

    def __call__(self, images: Tensor) -> Tensor:
        return images.flatten(1).double() @ self.matrix


def real(tasks: int, n: int, *place: str | int, family: Factor | None = None) -> Tensor:
    """Images of the true distribution of each task, [tasks, n, 1, s, s]."""
    family = family or Factor()
    draw = family.draw({"x": torch.empty(tasks * n)}, Stream(1).at("real", *place))
    fitted = Fitted(Learner(family, SHAPE, {}), true_means(tasks))
    images = family.generate(fitted.nets, {}, draw)["x"]
    return images.reshape(tasks, n, *SHAPE)


def true_means(tasks: int) -> Tensor:
    make = Stream(2).at("means").torch()
    return 0.5 * torch.randn(64, SIDE * SIDE, generator=make, dtype=torch.float64)[:tasks]


def subject(
    tasks: int = 5,
    *,
    means: Tensor | None = None,
    family: Factor | None = None,
    features=None,
    n_samples: int = 12,
    query: int = 8,
) -> Subject:
    """Tasks under judgement, adapted to their true means unless told otherwise."""
    family = family or Factor()
    sizes = {"support": 5, "query": query, "anchor": 8}
    parts = ({"x": real(tasks, n, part).flatten(0, 1)} for part, n in sizes.items())
    episodes = Episodes(tuple(f"g/t{i}" for i in range(tasks)), *parts, paired=True)
    fitted = Fitted(Learner(family, SHAPE, {}), true_means(tasks) if means is None else means)
    noise = noise_per_task(family, Stream(3), episodes.tasks)
    return Subject(fitted, episodes, noise, features or Plain(), n_samples)


def rearranged(given: Subject, order: Sequence[int]) -> Subject:
    """The same tasks in another order, or some of them."""
    episodes = given.episodes.select(order)
    fitted = Fitted(given.adapted.learner, given.adapted.means[list(order)])
    noise = noise_per_task(fitted.learner.family, Stream(3), episodes.tasks)
    return Subject(fitted, episodes, noise, given.features, given.n_samples)


@dataclass(frozen=True)
class Strokes:
    """Classes are random bent lines, images are wobbly drawings of them: glyphs without fonts."""

    size: int = 16
    channels: int = 1
    seed: int = 0
    asked: list[str] = field(default_factory=list)  # the splits that were looked at
    domains: tuple[str, ...] = ("x",)
    leaks: LeakReport = NO_LEAKS

    @property
    def fingerprint(self) -> str:
        return f"strokes-{self.size}-{self.channels}-{self.seed}"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.channels, self.size, self.size)

    def tasks(self, split: Split) -> list[str]:
        return [f"{split}/{i:02d}" for i in range(60 if split == "train" else 24)]

    def images(self, task: str) -> Batch:
        return {"x": self._draw([task], 20, Stream(0).at("all"))[0]}

    def episodes(self, tasks, *, shot: int, query: int, rng: Stream, anchor: int = 0) -> Episodes:
        images = self._draw(tasks, shot + query + anchor, rng)
        parts = images.split([shot, query, anchor], 1)
        return Episodes(tuple(tasks), *({"x": part.flatten(0, 1)} for part in parts))

    def _draw(self, tasks: Sequence[str], n: int, rng: Stream) -> Tensor:
        """[tasks, n, c, h, w]."""
        self.asked.extend(task.partition("/")[0] for task in tasks)
        corners = [Stream(self.seed).at(t).numpy().uniform(0.15, 0.85, (1, 5, 2)) for t in tasks]
        wobble = [rng.at(t).numpy().normal(0, 0.04, (n, 5, 2)) for t in tasks]
        points = torch.from_numpy(np.stack(corners) + np.stack(wobble)).float().flatten(0, 1)
        axis = (torch.arange(self.size) + 0.5) / self.size
        y, x = axis.reshape(-1, 1), axis.reshape(1, -1)
        nearest = torch.full((len(points), self.size, self.size), torch.inf)
        for k in range(4):
            (ay, ax), (wy, wx) = (
                v.T[:, :, None, None] for v in (points[:, k], points[:, k + 1] - points[:, k])
            )
            along = ((y - ay) * wy + (x - ax) * wx) / (wy**2 + wx**2).clamp_min(1e-6)
            along = along.clamp(0, 1)
            gap = (y - ay - along * wy) ** 2 + (x - ax - along * wx) ** 2
            nearest = torch.minimum(nearest, gap)
        ink = (1.5 - nearest.sqrt() * self.size).clamp(0, 1)
        return (2 * ink - 1).unsqueeze(1).repeat(1, self.channels, 1, 1).unflatten(0, (-1, n))


@dataclass(frozen=True)
class Handwriting:
    """The real drawings of 28x28 pixels, split by alphabet."""

    images_of: Mapping[str, Tensor]
    names: Mapping[str, list[str]]
    domains: tuple[str, ...] = ("x",)
    shape: tuple[int, int, int] = (1, 28, 28)
    fingerprint: str = "handwriting"
    leaks: LeakReport = NO_LEAKS

    @staticmethod
    def open() -> Handwriting:
        if not OMNIGLOT.exists():
            pytest.skip(f"{OMNIGLOT.name} is not beside the repository")
        with np.load(OMNIGLOT, allow_pickle=False) as file:
            images, labels = file["images"], file["labels"]
            classes, groups = file["class_names"], file["groups"]
        ink = 1 - torch.from_numpy(images).float().unsqueeze(1) / 127.5
        by_class = {str(name): ink[labels == i] for i, name in enumerate(classes)}
        unseen = sorted(set(groups))[::5]
        names: dict[str, list[str]] = {"train": [], "search": []}
        for name, group in zip(classes, groups, strict=True):
            names["search" if group in unseen else "train"].append(str(name))
        return Handwriting(by_class, names)

    def tasks(self, split: Split) -> list[str]:
        return sorted(self.names[split])

    def images(self, task: str) -> Batch:
        return {"x": self.images_of[task]}

    def episodes(self, tasks, *, shot: int, query: int, rng: Stream, anchor: int = 0) -> Episodes:
        chosen = [
            self.images_of[task][rng.at(task).numpy().permutation(20)[: shot + query + anchor]]
            for task in tasks
        ]
        parts = torch.stack(chosen).split([shot, query, anchor], 1)
        return Episodes(tuple(tasks), *({"x": part.flatten(0, 1)} for part in parts))
