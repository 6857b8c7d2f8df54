"""Images and labels in an .npz."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metasearch.registry import component
from metasearch.tasks.archive import read_archive
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.layout import Channels
from metasearch.tasks.licence import stated
from metasearch.tasks.reading import (
    Invert,
    Leaks,
    Wanted,
    check_settings,
    complain_about,
    finish,
)
from metasearch.tasks.splits import RATIOS, Ratios


@component
class Arrays:
    """A task is a label; the file holds `images` and `labels`.

    `class_names` names the labels, `groups` puts classes (or images) together that must stay in
    one split, and `split` says which: train, inner, search or val, confirm, test. What a `split`
    lacks is carved: inner from train, confirm from search.
    """

    name: Literal["arrays"] = "arrays"
    path: str
    size: int = 28  # pixels a side
    channels: Channels = "auto"  # auto: as the file has it
    invert: Invert = "auto"  # auto: if the borders of grey images are light, they are paper
    shot: int = 5
    query: int = 10
    anchor: int = 5
    seed: int = 0  # of the split
    ratios: Ratios = RATIOS  # of train, inner, search, confirm, test
    leaks: Leaks = "drop"  # drop classes that resemble one of an earlier split, or keep them

    def __post_init__(self) -> None:
        """Refuse sizes, counts and shares that mean nothing."""
        check_settings(self.size, self.shot, self.query, self.anchor, self.ratios)

    @property
    def licence(self) -> str:
        """Terms of the images."""
        return stated(self.path)

    def open(self) -> ImageTasks:
        """Read, split, check for leaks.

        Raises:
            DataError: the file is missing, damaged, pickled, or its arrays do not fit together.
        """
        with complain_about(f"arrays {self.path}"):
            reading = read_archive(
                Path(self.path).expanduser(), size=self.size, channels=self.channels
            )
            wanted = Wanted(
                need=self.shot + self.query + self.anchor,
                invert=self.invert,
                seed=self.seed,
                ratios=self.ratios,
                leaks=self.leaks,
            )
            return finish(reading, wanted)
