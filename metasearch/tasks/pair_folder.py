"""The user's pairs of domains: folders trainA and trainB, as CycleGAN's data sets have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from metasearch.errors import DataError
from metasearch.registry import component
from metasearch.tasks.base import SPLITS, LeakReport, Split, TaskId
from metasearch.tasks.layout import Channels, read_members, split_named
from metasearch.tasks.leakage import unseen_before
from metasearch.tasks.licence import stated
from metasearch.tasks.pair_tasks import Pair, PairTasks, needed
from metasearch.tasks.reading import (
    SHOWN,
    ImageClass,
    Invert,
    Reading,
    check_settings,
    complain_about,
    ink_light,
    without_doubles,
)
from metasearch.tasks.splits import RATIOS, Ratios, split_groups
from metasearch.tasks.tree import Listing, Member, listing

SIDES: Mapping[str, str] = {
    "traina": "a",
    "trainb": "b",
    "a": "a",
    "b": "b",
    "testa": "held-a",
    "testb": "held-b",
}
"""What the folder of an image means; case does not matter."""

_WANTED = (
    "wanted is PAIR/trainA/image.png and PAIR/trainB/image.png (or a and b, and testA and testB "
    "for queries) for several pairs, perhaps with a folder of a group, or train|val|test, above"
)


@component
class PairFolder:
    """A task is a pair of folders of images, trainA and trainB, in one direction or the other.

    Queries come from testA and testB where a pair has them, else from what support leaves. With
    `paired`, files of one name show the same thing in both domains: then translations can be
    compared with the truth, and support shows different things. Pairs are dealt to splits, or kept
    in the folders train, val and test; those of one group stay together. An image that equals one
    of an earlier split is taken out, so a domain that several pairs share belongs into one group.
    """

    name: Literal["pair_folder"] = "pair_folder"
    path: str  # of a folder or a zip
    paired: bool = False  # whether files of one name belong together
    size: int = 28  # pixels a side
    channels: Channels = "auto"  # auto: 3 if any image has colour
    invert: Invert = "auto"  # auto: if the borders of grey images are light, they are paper
    shot: int = 10  # of each domain
    query: int = 10
    anchor: int = 5
    seed: int = 0  # of the split
    ratios: Ratios = RATIOS  # of train, inner, search, confirm, test

    def __post_init__(self) -> None:
        """Refuse sizes, counts and shares that mean nothing."""
        check_settings(self.size, self.shot, self.query, self.anchor, self.ratios)

    @property
    def licence(self) -> str:
        """Terms of the images."""
        return stated(self.path)

    def open(self) -> PairTasks:
        """Read every file (or what was read before, from the cache), split, check for leaks.

        Raises:
            DataError: the path is missing, is laid out otherwise, holds damaged or too few images.
        """
        source = f"pair_folder {self.path}"
        with complain_about(source), listing(Path(self.path).expanduser()) as found:
            reading = read_members(
                found.members,
                sides_of(found),
                size=self.size,
                channels=self.channels,
                ignored=found.ignored,
            )
            reading = without_doubles(ink_light(reading, self.invert))
            pairs = sorted({c.group or "" for c in reading.classes})
            split_of = dict(zip(pairs, self._split(pairs, reading.classes), strict=True))
            level = np.array([SPLITS.index(split_of[c.group or ""]) for c in reading.classes])
            fresh = unseen_before(reading.images, level[reading.owner].tolist())
            reading = reading.rows(fresh).noting(seen_pictures_dropped=int((~fresh).sum()))
            tasks = {p: self._pair(reading, p, split_of[p], found.members) for p in pairs}
            return self._opened(tasks, reading)

    def _split(self, pairs: Sequence[str], classes: Sequence[ImageClass]) -> list[Split]:
        given = {c.group: c.given for c in classes}
        groups = [_group(pair) for pair in pairs]
        unit = "pair" if groups == list(pairs) else "group"
        splits = [given[pair] for pair in pairs]
        return split_groups(groups, seed=self.seed, ratios=self.ratios, given=splits, unit=unit)

    def _pair(self, reading: Reading, pair: str, split: Split, members: Sequence[Member]) -> Pair:
        """The rows of one pair of folders, with equal names in equal places if it is `paired`."""
        assert reading.files is not None, "images of a folder come from files"
        number = {c.name: i for i, c in enumerate(reading.classes) if c.group == pair}
        sides = []
        for side in ("a", "b", "held-a", "held-b"):
            rows = np.flatnonzero(reading.owner == number.get(side, -1)).tolist()
            stems = [PurePath(members[reading.files[r]].parts[-1]).stem for r in rows]
            sides.append(dict(zip(stems if self.paired else map(str, rows), rows, strict=True)))
        a, b, held_a, held_b = sides
        if self.paired and held_a:
            held_a, held_b = _alike(held_a, held_b)
        elif self.paired:
            a, b = _alike(a, b)
        rows_of = [np.array(list(side.values()), int) for side in (a, b, held_a, held_b)]
        return Pair(_group(pair), split, *rows_of)

    def _opened(self, pairs: Mapping[str, Pair], reading: Reading) -> PairTasks:
        later = self.query + self.anchor
        lacks = {p: needed(x, self.shot, later, paired=self.paired) for p, x in pairs.items()}
        small = sorted(name for name, lack in lacks.items() if lack)
        tasks: dict[TaskId, Pair] = {}
        for name, p in pairs.items():
            if not lacks[name]:
                tasks[f"{name}/a-to-b"] = p
                tasks[f"{name}/b-to-a"] = Pair(p.group, p.split, p.b, p.a, p.held_b, p.held_a)
        for split in SPLITS:
            if not any(p.split == split for p in tasks.values()):
                why = f" Too small is, for example, {small[0]!r}: it {lacks[small[0]]}"
                raise DataError(
                    f"split {split} has no pair that is large enough.{why if small else ''} Add "
                    "pairs or images, or lower shot, query or anchor."
                )
        notes = {**reading.notes, "small_pairs_dropped": len(small), "small_pairs": small[:SHOWN]}
        leaks = LeakReport(0, 0, (), ())
        return PairTasks(reading.images, tasks, leaks=leaks, paired=self.paired, notes=notes)


def sides_of(found: Listing) -> list[ImageClass]:
    """The pair (as a group) and the side (as a name) of each member of a listing.

    Raises:
        DataError: there are no images, or some lie elsewhere.
    """
    if not found.members:
        raise DataError(f"no images in it; {_WANTED}.")
    above = [m.folders[:-1] for m in found.members]
    for member in found.members:
        if not member.folders or member.folders[-1].casefold() not in SIDES:
            raise DataError(f"{'/'.join(member.parts)!r} is not in place; {_WANTED}.")
    while all(len(f) > 1 for f in above) and len({f[0] for f in above}) == 1:
        above = [f[1:] for f in above]
    given: list[Split | None] = [split_named(f[0]) if len(f) > 1 else None for f in above]
    if None in given:
        given = [None] * len(above)
    else:
        above = [f[1:] for f in above]
    if odd := [f for f in above if not 1 <= len(f) <= 2]:
        where = "/".join(odd[0]) or "the top"
        raise DataError(f"a pair lies at {where!r}, which is not in place; {_WANTED}.")
    return [
        ImageClass(SIDES[m.folders[-1].casefold()], "/".join(f), split)
        for m, f, split in zip(found.members, above, given, strict=True)
    ]


def _group(pair: str) -> str:
    return pair.rpartition("/")[0] or pair


def _alike(a: Mapping[str, int], b: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The files that both sides have, in one order."""
    names = sorted(a.keys() & b.keys())
    return {n: a[n] for n in names}, {n: b[n] for n in names}
