"""Opened sources in which some tasks are left out, spoiled, transformed, or of another source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.errors import DataError
from metasearch.rng import Stream
from metasearch.tasks.base import (
    SPLITS,
    Batch,
    Episodes,
    LeakReport,
    Split,
    TaskDistribution,
    TaskId,
    image_domains,
)
from metasearch.tasks.leakage import check
from metasearch.tasks.splits import family
from metasearch.tasks.wrapping import Described, Wrapper, ruler_of

Noise = Literal["none", "mixed", "pixels"]
Transform = Literal["none", "rotated", "mirrored", "inverted", "blurred"]

_SEEN: tuple[Split, ...] = ("train", "inner")
MIXED = 5  # classes of which an episode of a mixed task holds images

_TRANSFORMS: Mapping[Transform, Callable[[Tensor], Tensor]] = {
    "rotated": lambda x: x.rot90(1, (2, 3)),
    "mirrored": lambda x: x.flip(3),
    "inverted": lambda x: -x,
    "blurred": lambda x: F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1),
}
_PENS: Mapping[Transform, Callable[[Tensor], Tensor]] = {  # steps (dx, dy, pen), y downwards
    "rotated": lambda t: torch.stack([t[..., 1], -t[..., 0], t[..., 2]], -1),
    "mirrored": lambda t: torch.cat([-t[..., :1], t[..., 1:]], -1),
}


class SomeTasks(Wrapper):
    """Some of the train tasks, and all others."""

    def __init__(
        self, below: Described, settings: object, train: Sequence[TaskId], notes: Mapping[str, Any]
    ) -> None:
        """Keep these train tasks."""
        super().__init__(below, settings)
        self._train = tuple(train)
        self._notes = notes

    @property
    def notes(self) -> Mapping[str, Any]:
        """Remarks of the source below, and what is left."""
        return {**self.below.notes, **self._notes}

    def tasks(self, split: Split) -> Sequence[TaskId]:
        """The tasks of a split, sorted."""
        return self._train if split == "train" else self.below.tasks(split)


class NoisyTasks(Wrapper):
    """Some of the train tasks are spoiled, each in one way and in every episode anew."""

    def __init__(
        self, below: Described, settings: object, noise: Mapping[TaskId, Noise], pixels: float
    ) -> None:
        """Spoil the tasks that `noise` names; `pixels` is the share of pixels that are."""
        super().__init__(below, settings)
        self._noise = dict(noise)
        self._pixels = pixels

    def noise_of(self, task: TaskId) -> Noise:
        """What is wrong with a task: for analysis, never for the learner."""
        return self._noise.get(task, "none")

    @property
    def augmented(self) -> bool:
        """Noise is drawn anew."""
        return True

    @property
    def notes(self) -> Mapping[str, Any]:
        """Remarks of the source below, and how many train tasks are spoiled."""
        return {**self.below.notes, "noisy_train_tasks": dict(Counter(self._noise.values()))}

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """Draw one episode of each task; what is spoiled depends on `rng` and the task's name.

        Raises:
            DataError: no such task, or one with too few images.
        """
        found = self.below.episodes(tasks, shot=shot, query=query, rng=rng, anchor=anchor)
        wrong = [i for i, task in enumerate(tasks) if self.noise_of(task) != "none"]
        if not wrong:
            return found
        parts = [found.select([i]) for i in range(len(tasks))]
        for i in wrong:
            place = rng.at("noise", tasks[i])
            if self.noise_of(tasks[i]) == "pixels":
                parts[i] = self._speckled(parts[i], place)
            else:
                parts[i] = self._mixed(parts[i], place, shot=shot, query=query, anchor=anchor)
        return _joined(parts)

    def _speckled(self, episode: Episodes, rng: Stream) -> Episodes:
        """Some pixels, and numbers of the steps of a pen, are drawn evenly in [-1, 1]."""
        make = rng.torch()

        def spoil(batch: Batch) -> Batch:
            found = dict(batch)
            for domain in (*image_domains(batch), *(d for d in batch if d == "t")):
                x = batch[domain]
                hit, light = (torch.rand(x.shape, generator=make) for _ in range(2))
                found[domain] = torch.where(hit < self._pixels, 2 * light - 1, x)
            if "t" in found:
                found["t"][..., 2].sign_()  # a pen is up or down
            return found

        return episode.each(spoil)

    def _mixed(self, episode: Episodes, rng: Stream, **counts: int) -> Episodes:
        """Rows of other train tasks, of `MIXED` in turn."""
        train = [task for task in self.below.tasks("train") if task != episode.tasks[0]]
        order = rng.numpy().permutation(len(train))[:MIXED]
        others = self.below.episodes([train[i] for i in order], rng=rng.at("others"), **counts)
        n = len(order)

        def pick(batch: Batch) -> Batch:
            rows = {d: x.reshape(n, -1, *x.shape[1:]) for d, x in batch.items()}
            return {
                d: x[torch.arange(x.shape[1]) % n, torch.arange(x.shape[1])]
                for d, x in rows.items()
            }

        return replace(others.each(pick), tasks=episode.tasks)


class Transformed(Wrapper):
    """Every image of every task, transformed alike."""

    def __init__(self, below: TaskDistribution, settings: object, how: Transform) -> None:
        """Transform as `how` says.

        Raises:
            DataError: drawings of a pen, of which nothing can be made that looks so.
        """
        if "t" in below.domains and how not in _PENS:
            raise DataError(
                f"regime shift: no pen draws what is {how}. Set transform to {' or '.join(_PENS)}."
            )
        super().__init__(below, settings)
        self._how = how

    @property
    def ruler(self) -> TaskDistribution:
        """Transformed classes: features are to see what they measure."""
        below = ruler_of(self.below)
        return self if below is self.below else Transformed(below, self.settings, self._how)

    def images(self, task: TaskId) -> Batch:
        """Every image of a task as stored, transformed."""
        return self._of(self.below.images(task))

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """One episode of each task, transformed."""
        found = self.below.episodes(tasks, shot=shot, query=query, rng=rng, anchor=anchor)
        return found.each(self._of)

    def _of(self, batch: Batch) -> Batch:
        turn = _TRANSFORMS[self._how]
        found = {**batch, **{d: turn(batch[d]).contiguous() for d in image_domains(batch)}}
        return found if "t" not in batch else {**found, "t": _PENS[self._how](batch["t"])}


class Shifted(Wrapper):
    """`train` and `inner` of one source, and the unseen tasks of another."""

    def __init__(self, below: Described, settings: object, other: Described) -> None:
        """Put together, and leave out what both have.

        Raises:
            DataError: a split has no task left.
        """
        super().__init__(below, settings)
        self._other = other
        self._report = self._compared()
        gone = set(self._report.dropped)
        self._unseen = {
            split: tuple(t for t in other.tasks(split) if t not in gone)
            for split in SPLITS
            if split not in _SEEN
        }
        self._elsewhere = frozenset(task for own in self._unseen.values() for task in own)
        for split, left in self._unseen.items():
            if not left:
                raise DataError(
                    f"regime shift: all tasks of split {split} resemble train tasks. Shift to "
                    "another source, or transform otherwise."
                )

    def _compared(self) -> LeakReport:
        """Unseen tasks that have the name of a train task, or look like one."""
        seen = [(t, s, self.below) for s in _SEEN for t in self.below.tasks(s)]
        known = {family(task) for task, _, _ in seen}
        unseen = [
            (t, s, self._other) for s in SPLITS if s not in _SEEN for t in self._other.tasks(s)
        ]
        namesakes = tuple(sorted(t for t, _, _ in unseen if family(t) in known))
        every = [*seen, *(each for each in unseen if each[0] not in namesakes)]
        domain = image_domains(self.domains)[0]
        pictures = [_pixels(source.images(task)[domain]) for task, _, source in every]
        owner = np.repeat(np.arange(len(every)), [len(p) for p in pictures])
        names, splits = [task for task, _, _ in every], [split for _, split, _ in every]
        found = check(np.concatenate(pictures), owner, names, splits)
        mine = {task for task, _, _ in seen}
        dropped = tuple(sorted({*namesakes, *(t for t in found.dropped if t not in mine)}))
        return replace(found, dropped=dropped)

    @property
    def ruler(self) -> TaskDistribution:
        """Features are to see what they measure."""
        return self._other

    @property
    def fingerprint(self) -> str:
        """SHA-256 over both sources and the settings."""
        both = super().fingerprint + self._other.fingerprint
        return hashlib.sha256(both.encode()).hexdigest()

    @property
    def leaks(self) -> LeakReport:
        """What was found between the two sources."""
        return self._report

    @property
    def augmented(self) -> bool:
        """Whether episodes of either bring other pictures than the stored ones."""
        return self.below.augmented or self._other.augmented

    def tasks(self, split: Split) -> Sequence[TaskId]:
        """The tasks of a split, sorted."""
        return self.below.tasks(split) if split in _SEEN else self._unseen[split]

    def _home(self, task: TaskId) -> Described:
        return self._other if task in self._elsewhere else self.below

    def group(self, task: TaskId) -> str:
        """The group that a task belongs to in its source."""
        return self._home(task).group(task)

    def count(self, task: TaskId) -> int:
        """How many images of a task are stored."""
        return self._home(task).count(task)

    def images(self, task: TaskId) -> Batch:
        """Every image of a task as stored."""
        return self._home(task).images(task)

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """One episode of each task, from its own source."""
        homes = [self._home(task) for task in tasks]
        if len({id(home) for home in homes}) <= 1:
            home = homes[0] if homes else self.below
            return home.episodes(tasks, shot=shot, query=query, rng=rng, anchor=anchor)
        return _joined(
            [
                home.episodes([task], shot=shot, query=query, rng=rng, anchor=anchor)
                for home, task in zip(homes, tasks, strict=True)
            ]
        )


def _joined(episodes: Sequence[Episodes]) -> Episodes:
    """The tasks of several, one after the other."""
    batches = zip(*((e.support, e.query, e.anchor) for e in episodes), strict=True)
    joined = [{d: torch.cat([b[d] for b in part]) for d in part[0]} for part in batches]
    names = tuple(task for one in episodes for task in one.tasks)
    return Episodes(names, *joined, paired=all(one.paired for one in episodes))


def _pixels(images: Tensor) -> np.ndarray:
    """Images in [-1, 1] as uint8."""
    return ((images + 1) * 127.5).round().byte().numpy()
