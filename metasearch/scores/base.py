"""How good it is: one number per unseen task, with a direction, for all tasks at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from torch import Tensor

from metasearch.engine.base import Adapted
from metasearch.models.base import NoiseSource, repeat_rows
from metasearch.tasks.base import Batch, Episodes

Direction = Literal["minimize", "maximize"]


class Features(Protocol):
    """A frozen map from images to vectors, learned on `train` tasks alone."""

    @property
    def fingerprint(self) -> str:
        """A hash of its weights."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Images [n, c, h, w] in [-1, 1] to features [n, d], without gradients."""
        ...


@dataclass(frozen=True)
class Subject:
    """Tasks under judgement; what several scores need is computed once, on first use."""

    adapted: Adapted
    episodes: Episodes
    noise: NoiseSource  # task by task, so that every trial is judged with the same noise
    features: Features | None
    n_samples: int  # images generated per task

    @property
    def tasks(self) -> int:
        """How many tasks are judged."""
        return len(self.episodes.tasks)

    @cached_property
    def samples(self) -> Batch:
        """Generated images [tasks * n_samples, c, h, w] in [-1, 1]."""
        family = self.adapted.learner.family
        like = repeat_rows(self.episodes.support, self.tasks * self.n_samples)
        noise = self.noise(like, "samples")
        return family.generate(self.adapted.nets, self.episodes.support, noise)

    def embed(self, images: Tensor) -> Tensor:
        """Features by task, [tasks, n, d], of flat images [tasks * n, c, h, w]."""
        assert self.features is not None, "the score did not say that it needs features"
        return self.features(images).unflatten(0, (self.tasks, -1))

    @cached_property
    def sample_features(self) -> Tensor:
        """[tasks, n_samples, d], of the family's first domain of samples."""
        return self.embed(next(iter(self.samples.values())))

    @cached_property
    def query_features(self) -> Tensor:
        """[tasks, query, d]."""
        return self.embed(next(iter(self.episodes.query.values())))


class Score(Protocol):
    """A number per task; a task that diverged gets NaN, and others are not touched."""

    name: str

    @property
    def direction(self) -> Direction:
        """Whether small or large is good."""
        ...

    @property
    def unit(self) -> str:
        """For axes and tables, such as "nats"."""
        ...

    @property
    def needs_features(self) -> bool:
        """Whether `Subject.features` must be there."""
        ...

    @property
    def needs_likelihood(self) -> bool:
        """Whether the family must be a `LikelihoodModel`."""
        ...

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], float64."""
        ...
