"""How good it is: one number per unseen task, with a direction, for all tasks at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import torch
from torch import Tensor

from metasearch.engine.base import Adapted
from metasearch.errors import DataError
from metasearch.models.base import (
    EncoderModel,
    GenerativeModel,
    LikelihoodModel,
    NoiseSource,
    TranslatorModel,
    rows,
)
from metasearch.models.conditions import rows_to_draw
from metasearch.tasks.base import Batch, Episodes

Direction = Literal["minimize", "maximize"]
Sight = Literal["samples", "model", "learner"]
"""What a score judges: images alone, of all tasks together; or the adapted nets, task by task."""
Ability = Literal["drawing", "likelihood", "encoding", "translation"]
"""What a score asks of a family; all of them draw."""


class Features(Protocol):
    """A frozen map from images to vectors, learned on `train` tasks alone."""

    @property
    def fingerprint(self) -> str:
        """A hash of its weights."""
        ...

    @property
    def scale(self) -> float:
        """The median distance between two real images of one train task: what "near" means."""
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
    given: Batch | None = None  # images to be judged in the place of generated ones

    @property
    def tasks(self) -> int:
        """How many tasks are judged."""
        return len(self.episodes.tasks)

    def posing(self, images: Batch) -> Subject:
        """The same judgement of given images [tasks * n, c, h, w] instead of generated ones."""
        return replace(self, given=images, n_samples=rows(images) // self.tasks)

    @cached_property
    def samples(self) -> Batch:
        """Generated (or given) images [tasks * n_samples, c, h, w] in [-1, 1].

        Where support has labels, so have they, as "y": the class that was asked for.
        """
        if self.given is not None:
            return self.given
        family = self.adapted.learner.family
        given = rows_to_draw(family, self.episodes.support, self.tasks, self.n_samples)
        noise = self.noise(given, "samples")
        with torch.no_grad():
            images = family.generate(self.adapted.nets, given, noise)
        asked = {"y": given["y"]} if "y" in given and "y" not in images else {}
        return {**images, **asked}

    @property
    def domain(self) -> str:
        """The domain that scores of samples look at: the first that the family generates."""
        return next(iter(self.samples))

    def embed(self, images: Tensor) -> Tensor:
        """Features by task, [tasks, n, d], of flat images [tasks * n, c, h, w]."""
        assert self.features is not None, "the score did not say that it needs features"
        return by_task(self.features(images), self.tasks)

    @cached_property
    def sample_features(self) -> Tensor:
        """[tasks, n_samples, d]."""
        return self.embed(self.samples[self.domain])

    @cached_property
    def query_features(self) -> Tensor:
        """[tasks, query, d]."""
        return self.embed(self.episodes.query[self.domain])

    @cached_property
    def support_features(self) -> Tensor:
        """[tasks, shot, d]."""
        return self.embed(self.episodes.support[self.domain])


class Score(Protocol):
    """A number per task; a task that diverged gets NaN, and others are not touched."""

    @property
    def name(self) -> str:
        """What a search file calls it."""
        ...

    @property
    def direction(self) -> Direction:
        """Whether small or large is good."""
        ...

    @property
    def unit(self) -> str:
        """For axes and tables, such as "nats"."""
        ...

    @property
    def proper(self) -> bool:
        """Whether nothing scores better than the truth, on average.

        What is not proper can be won by something worse (by copies, by noise, by doing nothing):
        it is to be watched beside a score that is.
        """
        ...

    @property
    def looks_at(self) -> Sight:
        """What it looks at: images, the nets adapted to each task, or those before adaptation.

        Scores of adapted nets are given a few tasks at a time, the others all tasks at once.
        """
        ...

    @property
    def together(self) -> bool:
        """Whether a task's number depends on which others are judged with it."""
        ...

    @property
    def needs_features(self) -> bool:
        """Whether `Subject.features` must be there."""
        ...

    @property
    def asks(self) -> Ability:
        """What the family must be able to do, see `lacks`."""
        ...

    @property
    def needs_truth(self) -> bool:
        """Whether query images must be `Episodes.paired`, so that the right answer is known."""
        ...

    @property
    def least(self) -> int:
        """How many samples and query images per task it takes; 1 if any number will do."""
        ...

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], float64.

        Raises:
            DataError: fewer than `least` images on a side.
        """
        ...


_ABLE: Mapping[Ability, tuple[type, str]] = {
    "likelihood": (LikelihoodModel, "cannot say how probable an image is"),
    "encoding": (EncoderModel, "has no encoder"),
    "translation": (TranslatorModel, "does not translate from one domain to another"),
}


def lacks(family: GenerativeModel, asked: Ability) -> str:
    """What a family cannot do that is asked of it, as in "has no encoder"; empty if it can."""
    kind, lack = _ABLE.get(asked, (object, ""))
    return "" if isinstance(family, kind) else lack


def anchor_score(score: Score, subject: Subject) -> Tensor:
    """What a perfect sampler would get: the score of other real images of the tasks, [tasks].

    NaN for scores of models, which look at no samples and have no such anchor.

    Raises:
        DataError: the episodes hold too few anchor images.
    """
    if score.looks_at != "samples":
        return torch.full((subject.tasks,), torch.nan, dtype=torch.float64)
    return score(subject.posing(subject.episodes.anchor))


def check_enough(score: Score, subject: Subject) -> None:
    """Check that every task has enough images on both sides of a comparison.

    Raises:
        DataError: it has not.
    """
    sides = (subject.samples, subject.episodes.query)
    samples, query = (rows(side) // subject.tasks for side in sides)
    if min(samples, query) < score.least:
        raise DataError(
            f"score {score.name!r}: got {samples} samples and {query} query images per task; it "
            f"needs at least {score.least} of each. Raise `judging.samples`, or `query` or "
            "`anchor` of the task source."
        )


def by_task(rows_of_tasks: Tensor, tasks: int) -> Tensor:
    """[tasks * n, ...] to [tasks, n, ...]."""
    return rows_of_tasks.reshape(tasks, -1, *rows_of_tasks.shape[1:])


def finite_or_nan(values: Tensor) -> Tensor:
    """Float64, with NaN for whatever is not finite: a task that diverged."""
    values = values.double()
    return torch.where(values.isfinite(), values, torch.nan)
