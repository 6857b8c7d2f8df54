"""Image files, or files of another kind, in a folder or a zip, listed without trusting either."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from metasearch.errors import DataError

Suffixes = frozenset[str]
SUFFIXES: Suffixes = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})

MAX_FILE = 64 * 2**20  # bytes of one image file
MAX_FILES = 2_000_000
_MAX_RATIO = 200  # a zip member that unpacks to more than so many times its size is a bomb
_SMALL = 2**20  # ... if that is more than this


@dataclass(frozen=True)
class Member:
    """One file."""

    parts: tuple[str, ...]  # folders below the root, then the file
    stamp: str  # changes when the content does
    read: Callable[[], bytes]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders it lies in, outermost first."""
        return self.parts[:-1]


@dataclass
class Listing:
    """The files of one root, in order of their paths, and what was passed over."""

    root: Path
    suffixes: Suffixes = SUFFIXES
    members: list[Member] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def listing(path: Path, suffixes: Suffixes = SUFFIXES) -> Iterator[Listing]:
    """List a folder or a zip; its members can be read while the context is open.

    Hidden files, ``__MACOSX`` and what has none of `suffixes` are counted, not listed; so are
    links out of the folder, linked folders, and zip members that are links or lead elsewhere.

    Raises:
        DataError: `path` is missing or neither of the two, or a zip promises too much.
    """
    if path.is_dir():
        found = Listing(path, suffixes)
        _walk(path.resolve(), found)
        found.members.sort(key=lambda m: m.parts)
        yield found
    elif path.is_file():
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(
                f"{path} is no zip that can be read ({error}); allowed are a folder and a zip. "
                "Unpack it, or copy it again."
            ) from None
        with archive:
            yield _zipped(Listing(path, suffixes), archive)
    else:
        raise DataError(f"{path} does not exist; give the path of a folder or a zip.")


def _walk(root: Path, found: Listing) -> None:
    """Depth first without recursion, and never through a linked folder: there can be no loop."""
    waiting = [root]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if _is_junk(entry.name):
                        found.ignored["hidden"] += 1
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif kind := _refusal(entry, root, found.suffixes):
                        found.ignored[kind] += 1
                    else:
                        found.members.append(_file(entry, root))
        except OSError as error:
            raise DataError(f"{root}: {error}; make it readable, or move it out.") from None
        _check_count(root, len(found.members))


def _refusal(entry: os.DirEntry[str], root: Path, suffixes: Suffixes) -> str | None:
    """Why an entry that is no folder is not a file of this root."""
    if entry.is_symlink():
        try:
            target = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError):
            return "broken links"
        if not target.is_file():
            return "linked folders"
        if not target.is_relative_to(root):
            return "links out of the folder"
    if kind := _other_kind(entry.name, suffixes):
        return kind
    return None if entry.is_file() else "not files"


def _other_kind(name: str, suffixes: Suffixes) -> str | None:
    if PurePosixPath(name).suffix.lower() in suffixes:
        return None
    return "not images" if suffixes == SUFFIXES else f"not {', '.join(sorted(suffixes))}"


def _file(entry: os.DirEntry[str], root: Path) -> Member:
    path, info = Path(entry.path), entry.stat()
    return Member(
        parts=path.relative_to(root).parts,
        stamp=f"{info.st_size}-{info.st_mtime_ns}",
        read=lambda: _read_file(path),
    )


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    return _within(data, path.name)


def _within(data: bytes, name: str) -> bytes:
    if len(data) > MAX_FILE:
        raise OSError(f"{name} is larger than {MAX_FILE // 2**20} MiB")
    return data


def _zipped(found: Listing, archive: zipfile.ZipFile) -> Listing:
    path = found.root
    for info in archive.infolist():
        if info.is_dir():
            continue
        parts = PurePosixPath(info.filename).parts
        if any(_is_junk(part) for part in parts if part != ".."):
            found.ignored["hidden"] += 1
        elif kind := _zip_refusal(info, parts, found.suffixes):
            found.ignored[kind] += 1
        else:
            _check_bomb(path, info)
            found.members.append(
                Member(parts, f"{info.file_size}-{info.CRC}", _zip_reader(archive, info))
            )
        _check_count(path, len(found.members))
    found.members.sort(key=lambda m: m.parts)
    return found


def _zip_refusal(info: zipfile.ZipInfo, parts: tuple[str, ...], suffixes: Suffixes) -> str | None:
    outside = info.filename.startswith("/") or ".." in parts or "\\" in info.filename
    if outside or (parts and ":" in parts[0]):
        return "paths out of the zip"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "links"
    return _other_kind(info.filename, suffixes)


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        with archive.open(info) as file:
            return _within(file.read(MAX_FILE + 1), info.filename)

    return read


def _check_bomb(path: Path, info: zipfile.ZipInfo) -> None:
    if info.file_size > _SMALL and info.file_size > _MAX_RATIO * max(info.compress_size, 1):
        raise DataError(
            f"{path}: {info.filename!r} would unpack {info.compress_size} bytes to "
            f"{info.file_size}; no image does that. Pack the files anew if you trust them."
        )


def _check_count(path: Path, count: int) -> None:
    if count > MAX_FILES:
        raise DataError(f"{path} holds more than {MAX_FILES:,} files; give a part of it.")


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name in {"__MACOSX", "Thumbs.db", "desktop.ini"}
