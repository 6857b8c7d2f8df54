"""What the folders of a tree mean (split, group, class), and the images in them read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import PIL

from metasearch.errors import DataError
from metasearch.tasks.base import Split
from metasearch.tasks.cache import Arrays, cached, key_of
from metasearch.tasks.decode import decode_all
from metasearch.tasks.reading import SHOWN, ImageClass, Reading, names_alike
from metasearch.tasks.tree import Listing, Member

Channels = Literal["auto", 1, 3]

WANTED_TREE = (
    "wanted is class/image.png, or group/class/image.png, or train|val|test above either of the two"
)

_DECODER = 1  # raise when a decoded picture changes, so that cached ones are made anew

_SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "inner": "inner",
    "val": "search",
    "valid": "search",
    "validation": "search",
    "search": "search",
    "confirm": "confirm",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


def split_named(name: str) -> Split | None:
    """The split that people mean by a name, such as "val"."""
    return _SPLIT_NAMES.get(name.casefold())


def classes_of(found: Listing) -> list[ImageClass]:
    """The class of each member of a listing, by the folders it lies in.

    One folder around everything is passed through. If the outermost folders are then all called
    like splits, they are splits. What remains is class, or group and class.

    Raises:
        DataError: there are no images, images outside of any class, or folders of mixed depth.
    """
    if not found.members:
        raise DataError(f"no images in it{_passed_over(found)}; {WANTED_TREE}.")
    folders = [m.folders for m in found.members]
    if loose := sum(not f for f in folders):
        first = next(m.parts[0] for m in found.members if not m.folders)
        raise DataError(
            f"{loose} image{'s lie' if loose > 1 else ' lies'} at the top, such as {first!r}; "
            f"{WANTED_TREE}. Move each image into the folder of its class."
        )
    while len({f[0] for f in folders}) == 1 and all(len(f) > 1 for f in folders):
        folders = [f[1:] for f in folders]
    given: list[Split | None] = [split_named(f[0]) for f in folders]
    if None in given or len(set(given)) == 1:
        given = [None] * len(folders)
    else:
        folders = [f[1:] for f in folders]
    _check_depth(found, folders)
    return [
        ImageClass(f[-1], f[0] if len(f) == 2 else None, split)
        for f, split in zip(folders, given, strict=True)
    ]


def _passed_over(found: Listing) -> str:
    told = ", ".join(f"{n} {kind}" for kind, n in sorted(found.ignored.items()))
    return f" (passed over: {told})" if told else ""


def _check_depth(found: Listing, folders: Sequence[tuple[str, ...]]) -> None:
    depths: dict[int, str] = {}
    for member, rest in zip(found.members, folders, strict=True):
        depths.setdefault(len(rest), "/".join(member.parts))
    if set(depths) not in ({1}, {2}):
        shown = " and ".join(repr(depths[d]) for d in sorted(depths)[:2])
        what = "folders of mixed depth" if len(depths) > 1 else "folders of the wrong depth"
        raise DataError(f"{what}, such as {shown}; {WANTED_TREE}.")


def read_members(
    members: Sequence[Member],
    classes: Sequence[ImageClass],
    *,
    size: int,
    channels: Channels,
    ignored: Counter[str],
) -> Reading:
    """Decode all members, or take what was decoded before from the cache.

    Args:
        members: the files.
        classes: the class of each.
        size: side in pixels.
        channels: "auto" is 3 if any image has colour.
        ignored: what the listing passed over.

    Raises:
        DataError: too many files are damaged, or all together are too large.
    """
    listed = [[list(m.parts), m.stamp] for m in members]
    key = key_of([_DECODER, PIL.__version__, size, channels, listed])

    def make() -> Arrays:
        decoded = decode_all(members, size, None if channels == "auto" else channels)
        notes = {
            "files": len(members),
            "corrupt": len(decoded.corrupt),
            "corrupt_files": decoded.corrupt[:SHOWN],
            "modes": dict(decoded.modes.most_common()),
            "sizes": dict(decoded.sizes.most_common(SHOWN)),
        }
        text = np.frombuffer(json.dumps(notes).encode(), np.uint8)
        return {"images": decoded.images, "kept": np.array(decoded.kept, int), "notes": text}

    arrays = cached("images", key, make)
    known = sorted(set(classes), key=lambda c: (c.task, c.given or ""))
    number = {c: i for i, c in enumerate(known)}
    owner = np.array([number[classes[i]] for i in arrays["kept"].tolist()], int)
    notes: dict[str, Any] = json.loads(arrays["notes"].tobytes())
    reading = Reading(arrays["images"], owner, tuple(known), notes, files=arrays["kept"])
    return reading.noting(
        passed_over=dict(ignored), names_alike=names_alike([c.task for c in known])
    )
