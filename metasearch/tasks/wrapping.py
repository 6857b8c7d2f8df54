"""Sources made of other sources: what both share, and what is measured on the source below."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from metasearch.registry import Table, to_data
from metasearch.rng import Stream
from metasearch.tasks.base import (
    Batch,
    Episodes,
    LeakReport,
    Shape,
    Split,
    TaskDistribution,
    TaskId,
)


@runtime_checkable
class Described(TaskDistribution, Protocol):
    """An opened source that can be looked at: what `summary` tells of it."""

    @property
    def augmented(self) -> bool:
        """Whether episodes bring other pictures than the stored ones."""
        ...

    @property
    def notes(self) -> Mapping[str, Any]:
        """JSON-like remarks on how it was read."""
        ...

    def group(self, task: TaskId) -> str:
        """The alphabet, script or folder that a task belongs to."""
        ...

    def count(self, task: TaskId) -> int:
        """How many images of a task are stored."""
        ...


def every_source() -> Table:
    """The table of this room, for a member that holds another member."""
    from metasearch.tasks import SOURCES  # which holds whoever asks

    return SOURCES


def looked_at(source: TaskDistribution) -> Described:
    """`source` as one that `summary` can describe; all of this room's can be."""
    assert isinstance(source, Described), f"{type(source).__name__} does not describe itself"
    return source


def ruler_of(source: TaskDistribution) -> TaskDistribution:
    """The source that frozen features are learned on: below all wrappers.

    So scores on a source and on what is made of it are taken with one ruler.
    """
    while isinstance(source, Wrapper) and source.ruler is not source:
        source = source.ruler
    return source


class Wrapper:
    """An opened source that passes on what the one below says; who derives changes a part."""

    def __init__(self, below: TaskDistribution, settings: object) -> None:
        """Wrap; `settings` is the component that was opened, for the fingerprint."""
        self.below = looked_at(below)
        self.settings = settings

    @property
    def ruler(self) -> TaskDistribution:
        """What features are learned on, if not below that again."""
        return self.below

    @property
    def domains(self) -> tuple[str, ...]:
        """The keys of its batches."""
        return self.below.domains

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        return self.below.shape

    @property
    def leaks(self) -> LeakReport:
        """What was found at load below."""
        return self.below.leaks

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the source below and the settings."""
        told = json.dumps([self.below.fingerprint, to_data(self.settings)], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def augmented(self) -> bool:
        """Whether episodes bring other pictures than the stored ones."""
        return self.below.augmented

    @property
    def notes(self) -> Mapping[str, Any]:
        """Remarks of the source below."""
        return self.below.notes

    def tasks(self, split: Split) -> Sequence[TaskId]:
        """The tasks of a split, sorted."""
        return self.below.tasks(split)

    def group(self, task: TaskId) -> str:
        """The alphabet, script or folder that a task belongs to."""
        return self.below.group(task)

    def count(self, task: TaskId) -> int:
        """How many images of a task are stored."""
        return self.below.count(task)

    def images(self, task: TaskId) -> Batch:
        """Every image of a task as stored."""
        return self.below.images(task)

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """One episode of each task."""
        return self.below.episodes(tasks, shot=shot, query=query, rng=rng, anchor=anchor)
