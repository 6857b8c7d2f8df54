"""Tasks of two domains, opened: what every source of pairs ends as."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasearch.errors import DataError
from metasearch.registry import nearest
from metasearch.rng import Stream
from metasearch.tasks.base import SPLITS, Batch, Episodes, LeakReport, Shape, Split, TaskId

_NONE = np.zeros(0, int)


@dataclass(frozen=True)
class Pair:
    """Where the images of one task lie, as rows, and where it belongs."""

    group: str
    split: Split
    a: np.ndarray  # int [n]
    b: np.ndarray  # int [m]; in a source that knows the truth, row i is what row i of `a` is
    held_a: np.ndarray = field(default_factory=lambda: _NONE)  # never for support
    held_b: np.ndarray = field(default_factory=lambda: _NONE)


class PairTasks:
    """A `TaskDistribution` over images in memory, with the domains ``a`` and ``b``."""

    domains = ("a", "b")
    augmented = False  # images are handed out as stored

    def __init__(
        self,
        images: np.ndarray,
        tasks: Mapping[TaskId, Pair],
        *,
        leaks: LeakReport,
        paired: bool,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Hold arrays that others checked.

        Args:
            images: uint8 [n, c, h, w], ink and light 255; not copied, never written to.
            tasks: what they are made of; tasks of one split may share images.
            leaks: what was found across splits.
            paired: whether row i of a query shows the same thing in both domains. Support never
                does: its images of ``b`` show other things than its images of ``a``.
            notes: JSON-like remarks on how the source was read, for `summary`.
        """
        self._images = images
        self._tasks = dict(sorted(tasks.items()))
        self._opened: Counter[Split] = Counter()
        self.paired = paired
        self.leaks = leaks
        self.notes = dict(notes or {})
        self.fingerprint = _fingerprint(images, self._tasks, paired=paired)

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        channels, height, width = self._images.shape[1:]
        return channels, height, width

    def tasks(self, split: Split) -> tuple[TaskId, ...]:
        """The tasks of a split, sorted."""
        return tuple(name for name, task in self._tasks.items() if task.split == split)

    def group(self, task: TaskId) -> str:
        """The domain, or the folder, that `task` belongs to: never in two splits.

        Raises:
            DataError: there is no such task.
        """
        return self._find(task).group

    def opened(self, split: Split) -> int:
        """How often images of a task of this split were handed out, by `images` or `episodes`."""
        return self._opened[split]

    def images(self, task: TaskId) -> Batch:
        """Every image of a task as stored; not necessarily as many of ``a`` as of ``b``.

        Raises:
            DataError: there is no such task.
        """
        pair = self._open(task)
        sides = {"a": (pair.a, pair.held_a), "b": (pair.b, pair.held_b)}
        return {domain: self._unit(np.concatenate(rows)) for domain, rows in sides.items()}

    def count(self, task: TaskId) -> int:
        """How many images of a task are stored, of both domains together.

        Raises:
            DataError: there is no such task.
        """
        pair = self._find(task)
        return sum(map(len, (pair.a, pair.b, pair.held_a, pair.held_b)))

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """Draw one episode of each task: `shot`, `query` and `anchor` images of each domain.

        What a task gets depends on `rng` and its own name only; its support moreover does not
        depend on `query` and `anchor`.

        Raises:
            DataError: no such task, or one with too few images.
        """
        counts = shot, query, anchor
        rows = [
            self._pick(name, self._open(name), counts, rng.at(name)) for name in tasks
        ]  # [tasks][part][domain]
        parts = [
            {
                domain: self._unit(np.concatenate([task[part][side] for task in rows] or [_NONE]))
                for side, domain in enumerate(self.domains)
            }
            for part in range(len(counts))
        ]
        support, query_, anchor_ = parts
        return Episodes(tuple(tasks), support, query_, anchor_, paired=self.paired)

    def _pick(
        self, name: TaskId, pair: Pair, counts: tuple[int, int, int], rng: Stream
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows of both domains for support, query and anchor."""
        shot, query, anchor = counts
        held = len(pair.held_a) > 0
        lack = needed(pair, shot, query + anchor, paired=self.paired)
        if lack:
            raise DataError(f"task {name!r} {lack} Lower shot, query or anchor, or add images.")
        orders = [
            rng.at(side).numpy().permutation(len(rows))
            for side, rows in (("a", pair.a), ("b", pair.b))
        ]
        if self.paired and not held:
            orders[1] = np.roll(orders[0], -shot)  # its support comes after that of `a`
            skip = 2 * shot
            rest = [orders[0][skip:]] * 2
        elif held:
            rest = [
                rng.at("held", side if not self.paired else "both").numpy().permutation(len(rows))
                for side, rows in (("a", pair.held_a), ("b", pair.held_b))
            ]
        else:
            rest = [order[shot:] for order in orders]
        ends = (0, query), (query, query + anchor)
        later = (pair.held_a, pair.held_b) if held else (pair.a, pair.b)
        found = [(pair.a[orders[0][:shot]], pair.b[orders[1][:shot]])]
        found += [(later[0][rest[0][i:j]], later[1][rest[1][i:j]]) for i, j in ends]
        return found

    def _unit(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self._images[rows].astype(np.float32)) / 127.5 - 1

    def _open(self, name: TaskId) -> Pair:
        task = self._find(name)
        self._opened[task.split] += 1
        return task

    def _find(self, name: TaskId) -> Pair:
        if name not in self._tasks:
            raise DataError(
                f"no task is called {name!r}; there are {len(self._tasks)}, see `tasks(split)`."
                f"{nearest(name, self._tasks)}"
            )
        return self._tasks[name]


def needed(pair: Pair, shot: int, later: int, *, paired: bool) -> str:
    """What a task lacks for an episode of `shot` and `later` images a side; empty if nothing."""
    wants = [((2 * shot if paired else shot) + later, pair.a, pair.b, "")]
    if len(pair.held_a):
        wants = [(shot, pair.a, pair.b, ""), (later, pair.held_a, pair.held_b, " held back")]
    for want, a, b, what in wants:
        if min(len(a), len(b)) < want:
            return f"has {len(a)} and {len(b)} images{what}, and an episode takes {want} of each."
    return ""


def _fingerprint(images: np.ndarray, tasks: Mapping[TaskId, Pair], *, paired: bool) -> str:
    """SHA-256 over names, groups, splits, rows and pixels."""
    places = {name: [pair.group, pair.split] for name, pair in tasks.items()}
    head = {"shape": images.shape, "tasks": places, "paired": paired, "splits": SPLITS}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for pair in tasks.values():
        for rows in (pair.a, pair.b, pair.held_a, pair.held_b):
            digest.update(f"{len(rows)} ".encode())
            digest.update(np.ascontiguousarray(rows, "<i8").data)
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()
