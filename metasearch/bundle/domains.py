"""A user's images of one domain or of two, and the folders they lie in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from metasearch.bundle.images import Images
from metasearch.errors import DataError

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "a": ("traina", "a"),
    "b": ("trainb", "b"),
    "asked": ("testa",),
}
"""What the folders of a pair are called; case does not matter."""


def by_domain(images: Images | Mapping[str, Images], wanted: Sequence[str]) -> dict[str, Images]:
    """The images of every domain that a model takes.

    Raises:
        DataError: they are of other domains.
    """
    if isinstance(images, Mapping):
        found = dict(images)
    elif len(wanted) == 1:
        found = {wanted[0]: images}
    else:
        found = {d: folder for d, folder in folders_of(images).items() if d in wanted}
    if set(found) != set(wanted):
        takes = (
            "images of one class"
            if len(wanted) == 1
            else "two domains: {'a': images, 'b': images}, or a folder that holds trainA and trainB"
        )
        raise DataError(f"got images of {sorted(found) or 'one folder'}; the model takes {takes}.")
    return found


def folders_of(place: object) -> dict[str, Path]:
    """The folders of a pair below `place`, by what they are for; "asked" is what to translate."""
    if not isinstance(place, str | Path) or not Path(place).is_dir():
        return {}
    found = {path.name.casefold(): path for path in Path(place).iterdir() if path.is_dir()}
    return {d: found[n] for d, names in FOLDERS.items() for n in names if n in found}
