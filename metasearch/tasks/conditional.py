"""Tasks of several classes, with labels: what a conditional model learns from."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from metasearch.errors import DataError
from metasearch.registry import OneOf, component
from metasearch.rng import Stream
from metasearch.tasks.base import (
    SPLITS,
    Batch,
    Episodes,
    Split,
    TaskId,
    TaskSource,
)
from metasearch.tasks.wrapping import Wrapper, every_source

UNKNOWN = -1  # the label of an image whose class is not told


@component
class Conditional:
    """A task is a few classes of one group of another source; "y" says which class an image is.

    A label is the place of a class in its task, from 0; -1 is not told. What the other source
    counts per class is had of each class: with 3 classes and its `shot: 5`, support is 15 images.
    Images come class by class in turn, labelled ones first.

    `labelled` is the share of labels that the learner sees: 1 is supervised, 0 a mixture without
    labels, between is semi-supervised. On unseen tasks that concerns the support; query and anchor,
    which scores alone look at, are labelled always. Where a source has no groups, classes of a
    task come from anywhere in the split.
    """

    name: Literal["conditional"] = "conditional"
    source: Annotated[TaskSource, OneOf(every_source)]
    classes: int = 3  # of a task
    labelled: float = 1.0  # share of labels that are seen
    rounds: int = 4  # how often each train class is dealt into a task; elsewhere once
    seed: int = 0  # of which classes make a task

    def __post_init__(self) -> None:
        """Refuse tasks that condition on nothing."""
        if not 2 <= self.classes <= 20:
            raise ValueError(f"classes must be 2 to 20, got {self.classes}")
        if not 0 <= self.labelled <= 1:
            raise ValueError(f"labelled must be 0 to 1, got {self.labelled}")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")

    @property
    def shot(self) -> int:
        """Support images of an episode, all classes together."""
        return self.classes * self.source.shot

    @property
    def query(self) -> int:
        """Query images of an episode, all classes together."""
        return self.classes * self.source.query

    @property
    def anchor(self) -> int:
        """Anchor images of an episode, all classes together."""
        return self.classes * self.source.anchor

    @property
    def size(self) -> int | None:
        """Pixels a side, where the other source says it."""
        return getattr(self.source, "size", None)

    def open(self) -> ConditionalTasks:
        """Open the other source and deal its classes into tasks.

        Raises:
            DataError: the source is missing, damaged or too small, has labels of its own, or a
                split has no group of so many classes.
        """
        return ConditionalTasks(self)


class ConditionalTasks(Wrapper):
    """Sets of classes of one group as tasks, with the domain ``y``."""

    def __init__(self, settings: Conditional) -> None:
        """Open the source below and deal."""
        super().__init__(settings.source.open(), settings)
        if "y" in self.below.domains:
            raise DataError(f"conditional: {settings.source.name} has labels already.")
        self._classes = settings.classes
        self._labelled = settings.labelled
        self._of: dict[TaskId, tuple[TaskId, ...]] = {}
        self._split: dict[TaskId, Split] = {}
        for split in SPLITS:
            for task, members in self._dealt(split, settings):
                self._of[task], self._split[task] = members, split
        for split in SPLITS:
            if not self.tasks(split):
                raise DataError(
                    f"conditional: no group of split {split} has {settings.classes} classes. "
                    "Lower `classes`, or give a source with larger groups."
                )

    def _dealt(
        self, split: Split, settings: Conditional
    ) -> Iterator[tuple[TaskId, tuple[TaskId, ...]]]:
        """Disjoint sets of classes, in each round anew; what is left over sits out."""
        groups: defaultdict[str, list[TaskId]] = defaultdict(list)
        for name in self.below.tasks(split):
            groups[self.below.group(name)].append(name)
        if all(len(members) == 1 for members in groups.values()):
            groups = defaultdict(list, {"": [name for own in groups.values() for name in own]})
        n = settings.classes
        place = Stream(settings.seed).at("conditional", split)
        for group, names in sorted(groups.items()):
            for turn in range(settings.rounds if split == "train" else 1):
                order = place.at(group, turn).numpy().permutation(len(names))
                for start in range(0, len(names) - n + 1, n):
                    members = tuple(names[i] for i in order[start : start + n])
                    yield _joined(members), members

    @property
    def domains(self) -> tuple[str, ...]:
        """Those of the source below, and labels."""
        return (*self.below.domains, "y")

    @property
    def notes(self) -> Mapping[str, Any]:
        """Remarks of the source below, and what a task is."""
        return {**self.below.notes, "classes_per_task": self._classes, "labelled": self._labelled}

    def tasks(self, split: Split) -> tuple[TaskId, ...]:
        """The tasks of a split, sorted."""
        return tuple(sorted(task for task, own in self._split.items() if own == split))

    def members(self, task: TaskId) -> tuple[TaskId, ...]:
        """The classes of a task, in the order of their labels.

        Raises:
            DataError: there is no such task.
        """
        if task not in self._of:
            raise DataError(f"no task is called {task!r}; see `tasks(split)`.")
        return self._of[task]

    def group(self, task: TaskId) -> str:
        """The group that the classes of a task belong to."""
        return self.below.group(self.members(task)[0])

    def count(self, task: TaskId) -> int:
        """How many images of the classes of a task are stored."""
        return sum(self.below.count(name) for name in self.members(task))

    def images(self, task: TaskId) -> Batch:
        """Every image of a task as stored, class by class, with its label."""
        parts = [self.below.images(name) for name in self.members(task)]
        sizes = torch.tensor([len(next(iter(part.values()))) for part in parts])
        joined = {d: torch.cat([part[d] for part in parts]) for d in parts[0]}
        return {**joined, "y": torch.arange(len(parts)).repeat_interleave(sizes)}

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """Draw one episode of each task; its counts are of all classes together.

        Raises:
            DataError: no such task, or a class with too few images.
        """
        counts = {"support": shot, "query": query, "anchor": anchor}
        each = {part: math.ceil(n / self._classes) for part, n in counts.items()}
        names = [name for task in tasks for name in self.members(task)]
        drawn = self.below.episodes(
            names, shot=each["support"], query=each["query"], anchor=each["anchor"], rng=rng
        )
        train = torch.tensor([self._split[task] == "train" for task in tasks])
        parts: dict[str, dict[str, Tensor]] = {}
        for part, n in counts.items():
            rows = self._in_turn(getattr(drawn, part), len(tasks), n)
            told = each[part] if part != "support" else self._seen(each[part])
            seen = torch.where(train, self._seen(each[part]), told)
            place = torch.arange(n)
            known = place < seen.unsqueeze(1) * self._classes  # [tasks, n]
            parts[part] = {**rows, "y": torch.where(known, place % self._classes, UNKNOWN)}
        flat = [{d: x.flatten(0, 1) for d, x in part.items()} for part in parts.values()]
        return Episodes(tuple(tasks), *flat)

    def _in_turn(self, batch: Batch, tasks: int, n: int) -> dict[str, Tensor]:
        """[tasks * classes * each, ...], class by class, to [tasks, n, ...], classes in turn."""
        return {
            d: x.reshape(tasks, self._classes, -1, *x.shape[1:])
            .transpose(1, 2)
            .flatten(1, 2)[:, :n]
            for d, x in batch.items()
        }

    def _seen(self, each: int) -> int:
        """How many labels of each class the learner sees; one at least, where it sees any."""
        return max(round(self._labelled * each), math.ceil(self._labelled)) if each else 0


def _joined(members: Sequence[TaskId]) -> TaskId:
    """The name of a row of classes, in the order of their labels: group/a+b+c."""
    group, _, _ = members[0].rpartition("/")
    names = "+".join(name.rpartition("/")[2] for name in members)
    return f"{group}/{names}" if group else names
