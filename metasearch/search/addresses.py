"""Runs in a bucket have an address, `s3://bucket/runs/leaves`, and copies of them paths.

A search works in a copy of its own, with its workers; who only looks has another, so that nothing
is taken from under a search. Which object a file of a copy is, its path says.
"""

from __future__ import annotations

import re
from pathlib import Path

from metasearch.errors import ConfigError
from metasearch.folders import cache_folder

SEARCHING, LOOKING = "searching", "looking"  # the two kinds of copies
_ADDRESS = re.compile(r"s3:/+([^/]*)/*(.*)", re.DOTALL)  # one slash is left in a Path
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PART = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f]+")


def is_address(place: str | Path) -> bool:
    """Whether a place is in a bucket."""
    return _ADDRESS.fullmatch(str(place)) is not None


def copy_at(place: str | Path, kind: str) -> Path:
    """Where the copy of an address is on this machine; a place of this machine as it is.

    Raises:
        ConfigError: it is no address of a folder in a bucket.
    """
    found = _ADDRESS.fullmatch(str(place))
    if found is None:
        return Path(place)
    bucket, key = found.groups()
    parts = [part for part in key.split("/") if part]
    if not _BUCKET.fullmatch(bucket) or not all(_PART.fullmatch(part) for part in parts):
        raise ConfigError(f"{place}: wanted is the address of a folder, as s3://bucket/runs.")
    return _root().joinpath(kind, bucket, *parts)


def address_of(place: str | Path) -> str:
    """The address of a file or folder of a copy, or as it is; empty for what is in no bucket."""
    whole = copy_at(place, LOOKING).absolute()
    for kind in (SEARCHING, LOOKING):
        root = _root() / kind
        if whole != root and whole.is_relative_to(root):
            return "s3://" + whole.relative_to(root).as_posix()
    return ""


def to_search(place: str | Path) -> Path:
    """The copy to search in, of an address or of another copy."""
    return copy_at(address_of(place) or place, SEARCHING)


def make_room() -> None:
    """Make the folder of all copies, for this user alone: a bucket may be read by fewer people."""
    _root().mkdir(parents=True, exist_ok=True, mode=0o700)


def _root() -> Path:
    return cache_folder().absolute() / "s3"
