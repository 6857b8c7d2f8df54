"""On what terms images may be used: what a model card has to state of the data."""

from __future__ import annotations

from pathlib import Path

FONTS = (
    "drawn from fonts that come with matplotlib: DejaVu (Bitstream Vera licence), STIX (SIL Open "
    "Font License) and Computer Modern (BaKoMa licence)"
)
OMNIGLOT = "Omniglot, Copyright (c) 2015 Brenden Lake, MIT licence"
UNKNOWN = "not stated with the data; ask whoever made the images before passing this on"
_LONGEST = 100  # characters of a first line


def licence_of(source: object) -> str:
    """The terms of a source's images, in words; of a source over others, those of the innermost.

    A source of one's own states them in a property `licence`.
    """
    while hasattr(source, "source"):
        source = source.source
    return str(getattr(source, "licence", "") or UNKNOWN)


def stated(path: str) -> str:
    """What a file LICENSE in a folder, or beside a file, says in its first line; nothing if none.

    LICENCE and COPYING do as well, with any suffix.
    """
    place = Path(path)
    folder = place if place.is_dir() else place.parent
    try:
        files = sorted(p for p in folder.iterdir() if p.is_file() and not p.is_symlink())
        found = next(p for p in files if p.stem.upper() in {"LICENSE", "LICENCE", "COPYING"})
        lines = found.read_text("utf-8", errors="replace")[:10_000].splitlines()
        first = next(line.strip(" #*=") for line in lines if line.strip(" #*="))
    except (OSError, StopIteration):
        return ""
    plain = "".join(c for c in first if c.isprintable() and c not in "|<>[]`")  # it goes on a page
    return f"{plain[:_LONGEST]} ({found.name})"
