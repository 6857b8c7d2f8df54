"""How Omniglot is laid out: its alphabets, its folders, and the files it is published in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from metasearch.errors import DataError
from metasearch.tasks.reading import ImageClass
from metasearch.tasks.tree import Listing, Member, Suffixes, listing

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

_EVALUATION = re.compile(r"((images|strokes)_)?evaluation", re.IGNORECASE)


@dataclass
class Drawings:
    """The files of one or several copies, and the character that each shows."""

    members: list[Member] = field(default_factory=list)
    classes: list[ImageClass] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


@contextmanager
def drawings(
    paths: Sequence[Path], kind: Literal["images", "strokes"], suffixes: Suffixes, wanted: str
) -> Iterator[Drawings]:
    """List folders and zips; their members can be read while the context is open.

    A folder of the published zips of a kind stands for them.

    Args:
        paths: of folders and zips.
        kind: what the published files are called after.
        suffixes: of the files.
        wanted: what to give instead, for errors.

    Raises:
        DataError: a path is missing, holds no such files, or has them in other places.
    """
    found = Drawings()
    with ExitStack() as stack:
        for path in (p for given in paths for p in _published(given, kind)):
            one = stack.enter_context(listing(path, suffixes))
            found.members += one.members
            found.classes += _characters(one, kind, wanted)
            found.ignored += one.ignored
        yield found


def several(text: str) -> list[Path]:
    """Several paths stand apart by commas, unless the whole text is a path itself."""
    whole = Path(text).expanduser()
    if whole.exists():
        return [whole]
    return [Path(part.strip()).expanduser() for part in text.split(",")]


def _published(path: Path, kind: str) -> list[Path]:
    """A folder of the published zips stands for them; where one is unpacked, for its folder."""
    zips = sorted(path.glob(f"{kind}_*.zip")) if path.is_dir() else []
    unpacked = [z.with_suffix("") for z in zips if z.with_suffix("").is_dir()]
    packed = [z for z in zips if z.with_suffix("") not in unpacked]
    return [*unpacked, *packed] or [path]


def _characters(found: Listing, kind: str, wanted: str) -> list[ImageClass]:
    """Alphabet and character of each drawing; what lies below an evaluation folder is for test."""
    if not found.members:
        raise DataError(f"{found.root} holds no {kind}; {wanted}.")
    classes = []
    for member in found.members:
        if len(member.folders) < 2:
            raise DataError(f"{found.root}: {'/'.join(member.parts)!r} is not in place; {wanted}.")
        *above, alphabet, character = (found.root.stem, *member.folders)
        unseen = any(_EVALUATION.match(name) for name in above)
        classes.append(ImageClass(character, alphabet, "test" if unseen else None))
    return classes
