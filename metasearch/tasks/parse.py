"""From what a person types to a task source: ``glyphs:16``, ``omniglot:a.zip``, a path."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from metasearch.errors import ConfigError, DataError
from metasearch.tasks.arrays import Arrays
from metasearch.tasks.base import TaskSource
from metasearch.tasks.conditional import Conditional
from metasearch.tasks.folder import Folder
from metasearch.tasks.glyphs import Glyphs
from metasearch.tasks.omniglot import Omniglot
from metasearch.tasks.pair_folder import SIDES, PairFolder
from metasearch.tasks.pairs import Pairs
from metasearch.tasks.regimes import Imbalanced, Noisy, Regime, Scarce
from metasearch.tasks.strokes import Strokes
from metasearch.tasks.traced import Traced
from metasearch.tasks.tree import SUFFIXES, Suffixes, listing

_ALLOWED = (
    "allowed are glyphs, glyphs:SIZE, pairs, pairs:SIZE, strokes, strokes:PATH, omniglot:PATH, "
    "folder:PATH, pair_folder:PATH, arrays:PATH, the path of a folder, a .zip or an .npz, or "
    "conditional:SOURCE, traced:SOURCE, noisy:SOURCE, scarce:SOURCE, imbalanced:SOURCE with one of "
    "these"
)

_OF_A_PATH: Mapping[str, Callable[..., TaskSource]] = {
    "omniglot": Omniglot,
    "strokes": Strokes,
    "folder": Folder,
    "pair_folder": PairFolder,
    "arrays": Arrays,
}
_OF_A_SIZE: Mapping[str, Callable[..., TaskSource]] = {"glyphs": Glyphs, "pairs": Pairs}


_OF_A_SOURCE: Mapping[str, Callable[[TaskSource], TaskSource]] = {
    "conditional": lambda source: Conditional(source=source),
    "traced": lambda source: Traced(source=source),
    "noisy": lambda source: Regime(source=source, kind=Noisy()),
    "scarce": lambda source: Regime(source=source, kind=Scarce()),
    "imbalanced": lambda source: Regime(source=source, kind=Imbalanced()),
}


def parse_source(text: str) -> TaskSource:
    """The source that `text` names, with default settings; a bare path is looked into.

    ``conditional:glyphs`` and the like name what is made of a source.

    Raises:
        DataError: no source is called so and nothing lies there.
        ConfigError: a size that is not allowed.
    """
    kind, _, rest = text.partition(":")
    if kind in _OF_A_SIZE:
        make = _OF_A_SIZE[kind]
        return make(size=_size(text, rest)) if rest else make()
    if rest and kind in _OF_A_SOURCE:
        return _OF_A_SOURCE[kind](parse_source(rest))
    if rest and kind in _OF_A_PATH:
        return _OF_A_PATH[kind](path=rest)
    if text == "strokes":
        return Strokes()
    path = Path(text).expanduser()
    if not path.exists():
        raise DataError(f"{text!r} is no task source, and no such file exists; {_ALLOWED}.")
    return _OF_A_PATH[_kind(path)](path=text)


def _size(text: str, size: str) -> int:
    if not size.isdecimal():
        example = f"{text.partition(':')[0]}:28"
        raise ConfigError(f"{text}: {size!r} is no size; allowed is a number, as {example}.")
    return int(size)


def _kind(path: Path) -> str:
    """What lies at a path."""
    if path.suffix.lower() == ".npz":
        return "arrays"
    if _is_of_pairs(path):
        return "pair_folder"
    if _is_omniglot(path, "images", SUFFIXES):
        return "omniglot"
    return "strokes" if _is_omniglot(path, "strokes", frozenset({".txt"})) else "folder"


def _is_of_pairs(path: Path) -> bool:
    """Every image lies in a folder trainA or trainB, or in testA or testB beside them.

    Folders that are called a and b may as well be classes.
    """
    with contextlib.suppress(DataError), listing(path) as found:
        sides = {m.folders[-1].casefold() if m.folders else "" for m in found.members}
        return {"traina", "trainb"} <= sides <= SIDES.keys() - {"a", "b"}
    return False


def _is_omniglot(path: Path, kind: str, suffixes: Suffixes) -> bool:
    """Folders named as upstream names them, or the published zips in a folder."""
    if path.is_dir() and any(path.glob(f"{kind}_*.zip")):
        return True
    with contextlib.suppress(DataError), listing(path, suffixes) as found:
        folders = [m.folders for m in found.members]
        return bool(folders) and all(
            len(f) >= 2 and re.fullmatch(r"character\d+", f[-1]) for f in folders
        )
    return False
