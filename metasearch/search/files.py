"""How files of a run folder are written and read: whole or not at all, and plain JSON."""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metasearch.errors import EnvironmentFault, RunError

_DRAFT = re.compile(r"\..+\.\d+")


def write_atomically(path: Path, text: str | bytes, *, sync: bool = True) -> None:
    """Replace `path` by `text`: a reader sees what was there or what is new, never a part.

    With `sync`, it survives a power cut once this returns.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")  # see `_DRAFT`
    try:
        with named(path), draft.open("wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def is_draft(name: str) -> bool:
    """Whether a file is what `write_atomically` leaves behind when it is killed."""
    return _DRAFT.fullmatch(name) is not None


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Have what the disk refuses in the body say where: the system tells a file only on opening."""
    try:
        yield
    except OSError as fault:
        fault.filename = fault.filename or str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def see_room(folder: Path, size: int) -> None:
    """See that so many bytes fit on the disk of a folder.

    Raises:
        EnvironmentFault: they do not.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise EnvironmentFault(
            f"{folder}: {size / 2**20:,.0f} MiB are to be copied here, and there is room for "
            f"{free / 2**20:,.0f}. Make room, or take another disk (METASEARCH_CACHE for copies)."
        )


def to_json(data: Any) -> str:
    """One line of standard JSON; a number that is not finite becomes null."""
    return json.dumps(_finite(data), separators=(",", ":"), allow_nan=False)


def read_json(path: Path) -> dict[str, Any] | None:
    """The mapping in `path`, or None if there is no such file.

    Raises:
        RunError: the file is not one JSON mapping.
    """
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as fault:
        raise RunError(f"{path}: not JSON ({fault}). Restore the file from a copy.") from fault
    if not isinstance(data, dict):
        raise RunError(f"{path}: expected a mapping, got {type(data).__name__}.")
    return data


def append_line(path: Path, line: str) -> None:
    """Add a line. A torn last line, left by a crash, is cut off first.

    Not synced: a line lost to a power cut costs one point of a learning curve.
    """
    with named(path), path.open("ab+") as file:
        _cut_torn_tail(file.fileno())
        file.write(line.encode() + b"\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole JSON lines of `path`; none if there is no such file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines[:-1]:  # what follows the last newline is torn or empty
        yield json.loads(line)


def _cut_torn_tail(handle: int) -> None:
    end = size = os.fstat(handle).st_size
    while end and os.pread(handle, 1, end - 1) != b"\n":
        end -= 1
    if end != size:
        os.ftruncate(handle, end)


def _finite(data: Any) -> Any:
    if data is None or isinstance(data, str | bool | int):
        return data
    if isinstance(data, numbers.Real):  # NumPy's scalars are among them
        return float(data) if math.isfinite(data) else None
    if isinstance(data, Mapping):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
