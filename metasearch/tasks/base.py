"""What a task source is: disjoint sets of tasks, and episodes drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

if TYPE_CHECKING:
    from torch import Tensor

    from metasearch.rng import Stream

Split = Literal["train", "inner", "search", "confirm", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

TaskId = str  # "group/class", such as "Greek/omega"; unique within a source
Shape = tuple[int, int, int]  # channels, height, width

Batch = Mapping[str, "Tensor"]
"""Domain -> images [tasks * n, c, h, w] in [-1, 1], tasks outermost. Ink and light are +1.

Rows may carry more than images, under names that are kept for it (see `OTHERS`): "y" their class
within the task, int64 [tasks * n], -1 where it is not told; "t" pen strokes [tasks * n, length, 3];
"given" the images that each row is to be like, [tasks * n, k, c, h, w], with "heard", bool
[tasks * n, k], which of them the row may hear (an image must not hear itself), and "set", int64
[tasks * n], equal for rows beside each other that are given the same images; "progress" the spent
share of a budget, [tasks * n].
"""

OTHERS = ("y", "t", "given", "heard", "set", "progress")
DERIVED = ("given", "progress")  # no source offers these: they are made where rows are needed


def image_domains(domains: Iterable[str]) -> tuple[str, ...]:
    """Those of `domains` that hold one image a row."""
    return tuple(d for d in domains if d not in OTHERS)


@dataclass(frozen=True)
class Episodes:
    """One support / query draw of each of several tasks; the three sets share no image."""

    tasks: tuple[TaskId, ...]
    support: Batch  # [tasks * shot, c, h, w]: what to adapt on
    query: Batch  # [tasks * query, c, h, w]: what to be judged on
    anchor: Batch  # [tasks * anchor, c, h, w]: other real images, what a perfect sampler would give
    _: KW_ONLY
    paired: bool = False  # row i of the query shows the same thing in each of its domains

    def select(self, positions: Sequence[int]) -> Episodes:
        """The episodes at these positions, in this order."""
        n = len(self.tasks)

        def pick(batch: Batch) -> Batch:
            index = list(positions)
            return {
                d: x.reshape(n, -1, *x.shape[1:])[index].flatten(0, 1) for d, x in batch.items()
            }

        names = tuple(self.tasks[i] for i in positions)
        parts = pick(self.support), pick(self.query), pick(self.anchor)
        return Episodes(names, *parts, paired=self.paired)

    def each(self, change: Callable[[Batch], Batch]) -> Episodes:
        """The same episodes with each of their sets changed."""
        parts = change(self.support), change(self.query), change(self.anchor)
        return Episodes(self.tasks, *parts, paired=self.paired)


@dataclass(frozen=True)
class LeakReport:
    """What the check at load found: the same or nearly the same picture in two splits."""

    same_bytes: int  # images with equal bytes or pixels whose classes are in different splits
    near_classes: int  # pairs of classes in different splits whose mean pictures nearly coincide
    dropped: tuple[
        TaskId, ...
    ]  # classes taken out because of it, the side that was seen first kept
    examples: tuple[str, ...]  # a few of them in words

    @property
    def clean(self) -> bool:
        """Nothing remained after dropping."""
        return self.same_bytes == 0 and self.near_classes == 0


class TaskDistribution(Protocol):
    """A source that was opened: images in memory, tasks split, leaks checked."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The keys of its batches, an image first: ("x",), ("a", "b") for pairs, ("x", "y")."""
        ...

    @property
    def shape(self) -> Shape:
        """Channels, height, width of one image."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of the images, their names and the split; a trial's score depends on it."""
        ...

    @property
    def leaks(self) -> LeakReport:
        """What the check at load found."""
        ...

    def tasks(self, split: Split) -> Sequence[TaskId]:
        """The tasks of a split, sorted; no task and no group is in two splits."""
        ...

    def images(self, task: TaskId) -> Batch:
        """Every image of a task as stored, without augmentation, [n, c, h, w] in [-1, 1]."""
        ...

    def episodes(
        self, tasks: Sequence[TaskId], *, shot: int, query: int, rng: Stream, anchor: int = 0
    ) -> Episodes:
        """Draw one episode of each task.

        What a task gets depends on `rng` and its own name only, not on the other tasks.

        Raises:
            DataError: a task has fewer than ``shot + query + anchor`` images.
        """
        ...


class TaskSource(Protocol):
    """The component a search file names: where the images are and how they are read."""

    @property
    def name(self) -> str:
        """How a search file asks for it."""
        ...

    @property
    def shot(self) -> int:
        """Support images of an episode."""
        ...

    @property
    def query(self) -> int:
        """Query images of an episode."""
        ...

    @property
    def anchor(self) -> int:
        """Anchor images of an episode."""
        ...

    def open(self) -> TaskDistribution:
        """Read, split and check.

        Raises:
            DataError: the source is missing, damaged, or too small.
        """
        ...
