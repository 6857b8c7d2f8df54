"""Tasks of single images, opened: what every source of this room ends as."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metasearch.errors import DataError
from metasearch.rng import Stream
from metasearch.tasks.base import (
    SPLITS,
    Batch,
    Episodes,
    LeakReport,
    Shape,
    Split,
    TaskId,
)
from metasearch.tasks.jitter import Jitter, Pose
from metasearch.tasks.ways import alike


@dataclass(frozen=True)
class Task:
    """Where the images of one task lie, and where it belongs."""

    group: str
    split: Split
    rows: range


class Augmented(Protocol):
    """What is drawn in the place of stored images: any number of pictures of each."""

    @property
    def jitter(self) -> Jitter:
        """How far drawings stray."""
        ...

    @property
    def stored(self) -> np.ndarray:
        """What is drawn from, a row for each stored image."""
        ...

    def draw(self, rows: np.ndarray, pose: Pose, size: int) -> Batch:
        """A drawing for each of `rows`, in these poses; the keys are those of the source."""
        ...


class ImageTasks:
    """A `TaskDistribution` over images ``x`` in memory, and perhaps their pen strokes ``t``."""

    def __init__(
        self,
        images: np.ndarray,
        tasks: Mapping[TaskId, Task],
        *,
        leaks: LeakReport,
        strokes: np.ndarray | None = None,
        augmented: Augmented | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Hold arrays that others checked.

        Args:
            images: uint8 [n, c, h, w], ink and light 255; not copied, never written to.
            tasks: their rows are disjoint.
            leaks: what was found across splits.
            strokes: float32 [n, length, 3], where images are drawings: see `pen`.
            augmented: how to draw pictures, where stored ones are not used as they are.
            notes: JSON-like remarks on how the source was read, for `summary`.
        """
        self._images = images
        self._strokes = strokes
        self._tasks = dict(sorted(tasks.items()))
        self._augmented = augmented
        self._opened: Counter[Split] = Counter()
        self.leaks = leaks
        self.notes = dict(notes or {})
        self.fingerprint = _fingerprint(images, self._tasks, strokes, augmented)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind, and their strokes if they have any."""
        return ("x",) if self._strokes is None else ("x", "t")

    @property
    def shape(self) -> Shape:
        """Channels, height, width."""
        channels, height, width = self._images.shape[1:]
        return channels, height, width

    @property
    def jitter(self) -> Jitter | None:
        """How episodes differ from stored images; None where they do not."""
        return self._augmented.jitter if self._augmented else None

    @property
    def augmented(self) -> bool:
        """Whether episodes bring other pictures than the stored ones."""
        return self._augmented is not None

    def tasks(self, split: Split) -> tuple[TaskId, ...]:
        """The tasks of a split, sorted."""
        return tuple(name for name, task in self._tasks.items() if task.split == split)

    def group(self, task: TaskId) -> str:
        """The alphabet, script or folder that `task` belongs to: never in two splits.

        Raises:
            DataError: there is no such task.
        """
        return self._find(task).group

    def opened(self, split: Split) -> int:
        """How often images of a task of this split were handed out, by `images` or `episodes`."""
        return self._opened[split]

    def images(self, task: TaskId) -> Batch:
        """Every image of a task as stored, [n, c, h, w] in [-1, 1].

        Raises:
            DataError: there is no such task.
        """
        rows = self._open(task).rows
        return self._stored(slice(rows.start, rows.stop))

    def _stored(self, rows: slice | np.ndarray) -> Batch:
        images: Batch = {"x": _to_unit(self._images[rows])}
        if self._strokes is None:
            return images
        return {**images, "t": torch.from_numpy(self._strokes[rows])}

    def count(self, task: TaskId) -> int:
        """How many images of a task are stored.

        Raises:
            DataError: there is no such task.
        """
        return len(self._find(task).rows)

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """Draw one episode of each task.

        What a task gets depends on `rng` and its own name only; its support moreover does not
        depend on `query` and `anchor`. With jitter, the stored images (styles) are gone through in
        random order, all once before any twice, and each time drawn in another pose; so episodes
        can be larger than what is stored. Strokes are written alike in a task, see `ways`: the
        picture of a row is theirs but for corners.

        Raises:
            DataError: no such task, or one with too few images and no jitter.
        """
        need = shot + query + anchor
        found = [self._open(name) for name in tasks]
        streams = [rng.at(name) for name in tasks]
        rows = [
            self._pick(name, task.rows, need, stream)
            for name, task, stream in zip(tasks, found, streams, strict=True)
        ]
        flat = np.concatenate(rows) if rows else np.zeros(0, int)
        if self._augmented is None:
            drawn = self._stored(flat)
        else:
            poses = [self._augmented.jitter.draw(stream, need) for stream in streams]
            pose = Pose.join(poses or [Pose.neutral(0)])
            drawn = self._augmented.draw(flat, pose, self.shape[-1])
        by_task = {d: x.reshape(len(rows), need, *x.shape[1:]) for d, x in drawn.items()}
        if need and "t" in by_task:
            # As one of the support is written; without any, as the first drawing.
            by_task["t"] = alike(by_task["t"], max(shot, 1))
        parts = slice(shot), slice(shot, shot + query), slice(shot + query, need)
        return Episodes(
            tuple(tasks),
            *({d: x[:, part].flatten(0, 1) for d, x in by_task.items()} for part in parts),
        )

    def _pick(self, name: TaskId, rows: range, need: int, rng: Stream) -> np.ndarray:
        generator = rng.at("rows").numpy()
        if self._augmented is not None:
            rounds = -(-need // len(rows))
            order = [generator.permutation(len(rows)) for _ in range(max(rounds, 1))]
            return rows.start + np.concatenate(order)[:need]
        if need > len(rows):
            raise DataError(
                f"task {name!r} has {len(rows)} images, and an episode takes {need} "
                "(shot + query + anchor). Lower them, or add images."
            )
        return rows.start + generator.permutation(len(rows))[:need]

    def _open(self, name: TaskId) -> Task:
        task = self._find(name)
        self._opened[task.split] += 1
        return task

    def _find(self, name: TaskId) -> Task:
        if name in self._tasks:
            return self._tasks[name]
        near = difflib.get_close_matches(name, list(self._tasks), n=1)
        raise DataError(
            f"no task is called {name!r}; there are {len(self._tasks)}, see `tasks(split)`."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )


def _to_unit(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.astype(np.float32)) / 127.5 - 1


def _fingerprint(
    images: np.ndarray,
    tasks: Mapping[TaskId, Task],
    strokes: np.ndarray | None,
    augmented: Augmented | None,
) -> str:
    """SHA-256 over names, groups, splits, pixels, strokes, and how they are jittered."""
    places = {name: [t.group, t.split, t.rows.start, t.rows.stop] for name, t in tasks.items()}
    jitter = dataclasses.asdict(augmented.jitter) if augmented else None
    head = {"shape": images.shape, "tasks": places, "jitter": jitter, "splits": SPLITS}
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(images).data)
    if strokes is not None:
        digest.update(np.ascontiguousarray(strokes).data)
    if augmented:
        digest.update(np.ascontiguousarray(augmented.stored).data)
    return digest.hexdigest()
