"""Omniglot, from the user's copy: 1,623 characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

from typing import Literal

from metasearch.errors import DataError
from metasearch.registry import component
from metasearch.tasks.alphabets import HARDNESS, drawings, several
from metasearch.tasks.archive import read_archive
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.layout import read_members
from metasearch.tasks.licence import OMNIGLOT
from metasearch.tasks.reading import (
    Leaks,
    Wanted,
    check_settings,
    complain_about,
    finish,
)
from metasearch.tasks.splits import RATIOS, Ratios
from metasearch.tasks.tree import SUFFIXES

_WANTED = (
    "wanted are images_background.zip, images_evaluation.zip, images_background_small1.zip or "
    "..._small2.zip as published, their folders unpacked (Alphabet/character01/0001_01.png), "
    "or an .npz with images, labels, class_names and groups"
)


@component
class Omniglot:
    """A task is a character, a group an alphabet.

    Alphabets that lie below a folder called images_evaluation are the test split, as everywhere in
    the field; the 30 background alphabets then give 22 for train, 2 for inner, 3 for search, 3 for
    confirm. Without them test is carved too: 20, 2, 3, 2, 3. Alphabets are dealt so that the splits
    are alike in hardness (see `split_groups`). The two small sets share Greek and
    Latin, image by image; given both, each image counts once.

    Source: Lake, Salakhutdinov & Tenenbaum, "Human-level concept learning through probabilistic
    program induction", Science 350(6266), 2015. Differs: no rotated copies as classes, since these
    make twins across splits, and whole alphabets in a split.
    """

    name: Literal["omniglot"] = "omniglot"
    path: str  # of a folder, a zip or an .npz; or of several, as "a.zip,b.zip"
    size: int = 28  # pixels a side
    shot: int = 5
    query: int = 10
    anchor: int = 5
    seed: int = 0  # of the split
    ratios: Ratios = RATIOS  # of train, inner, search, confirm, test
    leaks: Leaks = "drop"  # drop characters that resemble one of an earlier split, or keep them

    def __post_init__(self) -> None:
        """Refuse sizes, counts and shares that mean nothing."""
        check_settings(self.size, self.shot, self.query, self.anchor, self.ratios)

    @property
    def licence(self) -> str:
        """Terms of the images."""
        return OMNIGLOT

    def open(self) -> ImageTasks:
        """Read every drawing (or what was read before, from the cache), split, check for leaks.

        Raises:
            DataError: a path is missing or is not Omniglot, or there are too few alphabets.
        """
        paths = several(self.path)
        with complain_about(f"omniglot {self.path}"):
            if [p.suffix.lower() for p in paths] == [".npz"]:
                reading = read_archive(paths[0], size=self.size, channels=1)
                if any(c.group is None for c in reading.classes):
                    raise DataError(f"the file has no `groups`, the alphabet of each; {_WANTED}.")
            else:
                with drawings(paths, "images", SUFFIXES, _WANTED) as found:
                    reading = read_members(
                        found.members,
                        found.classes,
                        size=self.size,
                        channels=1,
                        ignored=found.ignored,
                    )
            wanted = Wanted(
                need=self.shot + self.query + self.anchor,
                seed=self.seed,
                ratios=self.ratios,
                leaks=self.leaks,
                hardness=HARDNESS,
            )
            return finish(reading, wanted)
