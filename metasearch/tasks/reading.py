"""From images as they were read to tasks that can be trusted: polarity, doubles, split, leaks."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from metasearch.errors import ConfigError, DataError
from metasearch.tasks.base import SPLITS, LeakReport, Split, TaskId
from metasearch.tasks.image_tasks import Augmented, ImageTasks, Task
from metasearch.tasks.jitter import DrawnFields, Jitter
from metasearch.tasks.leakage import check
from metasearch.tasks.pen import DrawnStrokes
from metasearch.tasks.splits import RATIOS, Ratios, check_ratios, family, split_groups

Invert = Literal["auto", "yes", "no"]
Leaks = Literal["drop", "keep"]

SHOWN = 20  # names listed in a note
_SAMPLED = 4096  # images that decide on the polarity


@dataclass(frozen=True)
class ImageClass:
    """What a source says of a class."""

    name: str
    group: str | None = None  # alphabet, script, folder; None where a source has no groups
    given: Split | None = None  # its split, where the source says it

    @property
    def task(self) -> TaskId:
        """Its name within the source: group/class, or the class alone where there is no group."""
        return self.name if self.group is None else f"{self.group}/{self.name}"


@dataclass(frozen=True)
class Reading:
    """What a source held."""

    images: np.ndarray  # uint8 [n, c, h, w]
    owner: np.ndarray  # class of each image, int [n]
    classes: tuple[ImageClass, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON-like, for `summary`
    fields: np.ndarray | None = None  # uint8 [n, FIELD, FIELD], where pictures are drawn from them
    strokes: np.ndarray | None = None  # float32 [n, length, 3], where images are drawings
    files: np.ndarray | None = (
        None  # which of the files each image is, int [n], where there are any
    )

    def only(self, classes: Sequence[int]) -> Reading:
        """These classes, numbered anew in this order."""
        number = np.full(len(self.classes), -1)
        number[list(classes)] = np.arange(len(classes))
        some = replace(
            self, owner=number[self.owner], classes=tuple(self.classes[i] for i in classes)
        )
        return some.rows(some.owner >= 0)

    def rows(self, keep: np.ndarray) -> Reading:
        """These images: a mask, or indices in a new order."""
        fields, strokes, files = (
            None if a is None else a[keep] for a in (self.fields, self.strokes, self.files)
        )
        images, owner = self.images[keep], self.owner[keep]
        return replace(
            self, images=images, owner=owner, fields=fields, strokes=strokes, files=files
        )

    def noting(self, **notes: Any) -> Reading:
        """The same, with remarks."""
        return replace(self, notes={**self.notes, **notes})


@dataclass(frozen=True)
class Wanted:
    """How a source is to be read."""

    need: int  # images that a class must have
    invert: Invert = "auto"
    seed: int = 0
    ratios: Ratios = RATIOS
    leaks: Leaks = "drop"
    hardness: Mapping[str, float] = field(default_factory=dict)  # of groups; see `split_groups`


def check_settings(size: int, shot: int, query: int, anchor: int, ratios: Ratios = RATIOS) -> None:
    """Refuse sizes, counts and shares that mean nothing.

    Raises:
        ConfigError: `size` is not 8 to 512, a count or a share is out of range.
    """
    if not 8 <= size <= 512:
        raise ConfigError(f"size: {size!r} pixels a side; allowed is 8 to 512.")
    if shot < 1 or query < 1 or anchor < 0:
        raise ConfigError(
            f"shot {shot!r}, query {query!r}, anchor {anchor!r}: "
            "allowed are shot and query from 1, anchor from 0."
        )
    check_ratios(ratios)


@contextmanager
def complain_about(source: str) -> Iterator[None]:
    """Put the source before what is wrong with it.

    Raises:
        DataError: one was raised within.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def finish(reading: Reading, wanted: Wanted, jitter: Jitter | None = None) -> ImageTasks:
    """Bring to one polarity, drop doubles and small classes, split, and check for leaks.

    Raises:
        DataError: too little is left for five splits.
    """
    reading = reading.only(np.unique(reading.owner).tolist())  # names without images count not
    reading = without_doubles(ink_light(reading, wanted.invert))
    # Before any class is dropped: a split must not depend on how many images an episode takes.
    split_of = dict(zip(reading.classes, _split(reading, wanted), strict=True))
    reading = _without_small_classes(reading, wanted.need)
    names = [c.task for c in reading.classes]
    splits = [split_of[c] for c in reading.classes]
    drop = wanted.leaks == "drop"
    leaks = check(reading.images, reading.owner, names, splits, drop=drop)
    gone = set(leaks.dropped)
    reading = reading.only([i for i, name in enumerate(names) if name not in gone])
    splits = [split_of[c] for c in reading.classes]
    _check_enough(splits, wanted, reading, leaks)
    reading = reading.rows(np.argsort(reading.owner, kind="stable"))
    ends = np.cumsum([0, *np.bincount(reading.owner, minlength=len(splits))]).tolist()
    tasks = {
        c.task: Task(c.group or c.task, splits[i], range(ends[i], ends[i + 1]))
        for i, c in enumerate(reading.classes)
    }
    return ImageTasks(
        reading.images,
        tasks,
        leaks=leaks,
        strokes=reading.strokes,
        augmented=None if jitter is None else _augmented(reading, jitter),
        notes=reading.notes,
    )


def _augmented(reading: Reading, jitter: Jitter) -> Augmented:
    if reading.strokes is not None:
        return DrawnStrokes(jitter, reading.strokes)
    assert reading.fields is not None, "jitter draws from strokes or from fields"
    return DrawnFields(jitter, reading.fields)


def ink_light(reading: Reading, invert: Invert) -> Reading:
    """Ink and light +1. Where it is to be found out: paper is what the borders show, mostly.

    Colour pictures are never inverted by themselves: their background is part of what they show.
    """
    flip = invert == "yes"
    if invert == "auto" and reading.images.shape[1] == 1 and len(reading.images):
        some = reading.images[:: max(1, len(reading.images) // _SAMPLED)]
        sides = [some[..., 0, :], some[..., -1, :], some[..., 0], some[..., -1]]
        flip = float(np.median(np.concatenate(sides, axis=None))) > 127
    images = 255 - reading.images if flip else reading.images
    return replace(reading, images=images).noting(inverted=flip)


def without_doubles(reading: Reading) -> Reading:
    """Each picture of a class once: support and query must share none."""
    seen: set[tuple[int, bytes]] = set()
    keep = np.zeros(len(reading.images), bool)
    images = np.ascontiguousarray(reading.images)
    for i, who in enumerate(reading.owner.tolist()):
        mark = who, hashlib.sha256(images[i].data).digest()
        keep[i] = mark not in seen
        seen.add(mark)
    return reading.rows(keep).noting(doubles_dropped=int((~keep).sum()))


def _without_small_classes(reading: Reading, need: int) -> Reading:
    counts = np.bincount(reading.owner, minlength=len(reading.classes))
    stay = np.flatnonzero(counts >= need).tolist()
    small = [reading.classes[i].task for i in np.flatnonzero(counts < need)]
    if not stay:
        most = f"the largest has {counts.max()}" if len(counts) else "there is none"
        raise DataError(
            f"no class has {need} different images, which an episode takes (shot + query + "
            f"anchor); {most}. Lower shot, query or anchor, or add images."
        )
    return reading.only(stay).noting(
        small_classes_dropped=len(small), small_classes=sorted(small)[:SHOWN]
    )


def _split(reading: Reading, wanted: Wanted) -> list[Split]:
    grouped = any(c.group is not None for c in reading.classes)
    return split_groups(
        [c.group or c.task for c in reading.classes],
        seed=wanted.seed,
        ratios=wanted.ratios,
        given=[c.given for c in reading.classes],
        unit="group" if grouped else "class",
        hardness=wanted.hardness,
    )


def _check_enough(
    splits: Sequence[Split], wanted: Wanted, reading: Reading, leaks: LeakReport
) -> None:
    counts = Counter(splits)
    for split in SPLITS:
        least = 2 if split == "train" else 1
        if counts[split] >= least:
            continue
        why, advice = [], "Add classes"
        if small := reading.notes["small_classes_dropped"]:
            advice += ", add images, lower shot, query or anchor"
            why.append(
                f"{small} classes with fewer than {wanted.need} different images (shot + query + "
                f"anchor) were left out, such as {reading.notes['small_classes'][0]!r}"
            )
        if leaks.dropped:
            advice += ", or say `leaks: keep`"
            why.append(
                f"{len(leaks.dropped)} were dropped for resembling one of an earlier split: "
                f"{'; '.join(leaks.examples[:2])}"
            )
        raise DataError(
            f"split {split} has {counts[split]} class{'es' * (counts[split] != 1)} and needs "
            f"{least}; {'; '.join(why) or 'its groups are too small'}. {advice}."
        )


def names_alike(names: Sequence[str]) -> list[list[str]]:
    """Names that differ only in case, white space or Unicode form: perhaps one class each."""
    families: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        families[family(name)].add(name)
    return [sorted(same) for same in families.values() if len(same) > 1]
