"""A folder or zip of images: class/*.png, or group/class/*.png."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from metasearch.registry import component
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.layout import Channels, classes_of, read_members
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
from metasearch.tasks.tree import listing


@component
class Folder:
    """A task is a folder of images, in a folder or a zip that is read in place.

    With two levels, the outer folders are groups, which stay whole; with one, each class is its
    own group. Folders train, val and test above them are kept to, and the splits that they lack
    are carved from them: inner from train, confirm from val. Images are squared by padding in the
    colour of their border, and resized; the first frame of a moving one counts.
    """

    name: Literal["folder"] = "folder"
    path: str
    size: int = 28  # pixels a side
    channels: Channels = "auto"  # auto: 3 if any image has colour
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
        """Read every file (or what was read before, from the cache), split, check for leaks.

        Raises:
            DataError: the path is missing, is laid out otherwise, holds damaged or too few images.
        """
        source = f"folder {self.path}"
        with complain_about(source), listing(Path(self.path).expanduser()) as found:
            reading = read_members(
                found.members,
                classes_of(found),
                size=self.size,
                channels=self.channels,
                ignored=found.ignored,
            )
            wanted = Wanted(
                need=self.shot + self.query + self.anchor,
                invert=self.invert,
                seed=self.seed,
                ratios=self.ratios,
                leaks=self.leaks,
            )
            return finish(reading, wanted)
