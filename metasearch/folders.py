"""Folders of this machine that are the user's."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``METASEARCH_CACHE``, or ``metasearch`` under ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("METASEARCH_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "metasearch"


def make_private(folder: Path) -> None:
    """Make a folder, and the one it is in, that others may not enter; what is there stays so.

    So who wants to share it makes it beforehand, or changes its mode later.
    """
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
