"""Omniglot, from the user's copy: 1,623 characters of 50 alphabets, each drawn by 20 people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from metasearch.errors import DataError
from metasearch.registry import component
from metasearch.tasks.archive import read_archive
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.layout import read_members
from metasearch.tasks.reading import (
    ImageClass,
    Leaks,
    Reading,
    Wanted,
    check_settings,
    complain_about,
    finish,
)
from metasearch.tasks.splits import RATIOS, Ratios
from metasearch.tasks.tree import Listing, Member, listing

_WANTED = (
    "wanted are images_background.zip, images_evaluation.zip, images_background_small1.zip or "
    "..._small2.zip as published, their folders unpacked (Alphabet/character01/0001_01.png), "
    "or an .npz with images, labels, class_names and groups"
)

# How much drawings of one character differ: variance over its 20 drawings, summed over 28 x 28
# pixels in [0, 1], mean over the characters of the alphabet. Across alphabets it goes with the
# nats of the Beta-Bernoulli floor (correlation 0.99). The evaluation set is never dealt.
HARDNESS: Mapping[str, float] = {
    "Alphabet_of_the_Magi": 41.8,
    "Anglo-Saxon_Futhorc": 41.7,
    "Arcadian": 45.1,
    "Armenian": 41.3,
    "Asomtavruli_(Georgian)": 42.0,
    "Balinese": 49.0,
    "Bengali": 57.3,
    "Blackfoot_(Canadian_Aboriginal_Syllabics)": 38.3,
    "Braille": 17.8,
    "Burmese_(Myanmar)": 43.0,
    "Cyrillic": 40.3,
    "Early_Aramaic": 35.1,
    "Futurama": 57.0,
    "Grantha": 27.0,
    "Greek": 38.6,
    "Gujarati": 48.7,
    "Hebrew": 36.4,
    "Inuktitut_(Canadian_Aboriginal_Syllabics)": 25.6,
    "Japanese_(hiragana)": 54.3,
    "Japanese_(katakana)": 44.7,
    "Korean": 48.1,
    "Latin": 36.0,
    "Malay_(Jawi_-_Arabic)": 35.2,
    "Mkhedruli_(Georgian)": 48.9,
    "N_Ko": 39.4,
    "Ojibwe_(Canadian_Aboriginal_Syllabics)": 34.0,
    "Sanskrit": 51.5,
    "Syriac_(Estrangelo)": 28.7,
    "Tagalog": 44.9,
    "Tifinagh": 38.6,
}

_EVALUATION = re.compile(r"(images_)?evaluation", re.IGNORECASE)


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

    def open(self) -> ImageTasks:
        """Read every drawing (or what was read before, from the cache), split, check for leaks.

        Raises:
            DataError: a path is missing or is not Omniglot, or there are too few alphabets.
        """
        paths = _paths(self.path)
        with complain_about(f"omniglot {self.path}"):
            if [p.suffix.lower() for p in paths] == [".npz"]:
                reading = read_archive(paths[0], size=self.size, channels=1)
                if any(c.group is None for c in reading.classes):
                    raise DataError(f"the file has no `groups`, the alphabet of each; {_WANTED}.")
            else:
                reading = _read_trees(paths, self.size)
            wanted = Wanted(
                need=self.shot + self.query + self.anchor,
                seed=self.seed,
                ratios=self.ratios,
                leaks=self.leaks,
                hardness=HARDNESS,
            )
            return finish(reading, wanted)


def _paths(text: str) -> list[Path]:
    """Several paths stand apart by commas, unless the whole text is a path itself."""
    whole = Path(text).expanduser()
    if whole.exists():
        return [whole]
    return [Path(part.strip()).expanduser() for part in text.split(",")]


def _read_trees(paths: list[Path], size: int) -> Reading:
    members: list[Member] = []
    classes: list[ImageClass] = []
    ignored: Counter[str] = Counter()
    with ExitStack() as stack:
        for path in (p for given in paths for p in _published(given)):
            found = stack.enter_context(listing(path))
            members += found.members
            classes += _characters(found)
            ignored += found.ignored
        return read_members(members, classes, size=size, channels=1, ignored=ignored)


def _published(path: Path) -> list[Path]:
    """A folder of the published zips stands for them; where one is unpacked, for its folder."""
    zips = sorted(path.glob("images_*.zip")) if path.is_dir() else []
    unpacked = [z.with_suffix("") for z in zips if z.with_suffix("").is_dir()]
    packed = [z for z in zips if z.with_suffix("") not in unpacked]
    return [*unpacked, *packed] or [path]


def _characters(found: Listing) -> list[ImageClass]:
    """Alphabet and character of each drawing; what lies below images_evaluation is for test."""
    if not found.members:
        raise DataError(f"{found.root} holds no images; {_WANTED}.")
    classes = []
    for member in found.members:
        if len(member.folders) < 2:
            raise DataError(f"{found.root}: {'/'.join(member.parts)!r} is not in place; {_WANTED}.")
        *above, alphabet, character = (found.root.stem, *member.folders)
        unseen = any(_EVALUATION.match(name) for name in above)
        classes.append(ImageClass(character, alphabet, "test" if unseen else None))
    return classes
