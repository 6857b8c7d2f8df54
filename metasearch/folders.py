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
