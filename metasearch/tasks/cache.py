"""Arrays that cost seconds to make, kept in the user's cache folder. Losing them loses nothing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from metasearch.folders import cache_folder

Arrays = Mapping[str, np.ndarray]

_DIGEST = 16  # hex digits kept of a key and of a file's own hash


def key_of(recipe: Any) -> str:
    """A name for what `recipe`, JSON-like data, leads to; another recipe has another name."""
    text = json.dumps(recipe, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]


def cached(kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays called ``<kind>-<key>``: read if they are there and whole, else made and kept.

    A file's name carries the hash of its bytes, so that a damaged one is told from a good one and
    is made anew. Everything works, slower, where the folder cannot be read or written.
    """
    folder = cache_folder()
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"{kind}-{key}.*.npz")):
            found = _read(path)
            if found is not None:
                return found
    arrays = make()
    with contextlib.suppress(OSError):
        _write(folder, f"{kind}-{key}", arrays)
    return arrays


def _read(path: Path) -> Arrays | None:
    data = path.read_bytes()
    if path.name.split(".")[-2] != hashlib.sha256(data).hexdigest()[:_DIGEST]:
        return None
    # A file of the right name that is no archive of plain arrays was put there by someone else.
    with (
        contextlib.suppress(ValueError, TokenError, zipfile.BadZipFile),
        np.load(io.BytesIO(data), allow_pickle=False) as archive,
    ):
        return {name: archive[name] for name in archive.files}
    return None


def _write(folder: Path, stem: str, arrays: Arrays) -> None:
    """Write beside and rename, so that no other process ever reads half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()[:_DIGEST]
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{stem}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(folder / f"{stem}.{digest}.npz")
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    for other in folder.glob(f"{stem}.*.npz"):
        if other.name != f"{stem}.{digest}.npz":
            other.unlink(missing_ok=True)
