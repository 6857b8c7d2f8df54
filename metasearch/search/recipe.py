"""One recipe as a search of one trial: what `train` runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from metasearch import space
from metasearch.search.config import SearchFile, read_document
from metasearch.search.home import looked_at

_ONE_TRIAL = {"trials": 1, "sampler": "random", "pruner": "none", "backend": "local"}
_KEPT = {"name", "cpus_per_trial", "gpus_per_trial", "confirm", "baselines"}


def read_recipe(
    path: str | Path, overrides: Iterable[str] = (), name: str | None = None
) -> SearchFile:
    """A search of one trial in this process.

    `path` is a folder with a config.yaml, as a bundle or a trial has; a resolved config; or a
    search file in which nothing is left to draw once the overrides are applied.

    Raises:
        ConfigError: something is left to draw, or the recipe cannot be run.
    """
    given = looked_at(path)
    document = space.load(given / "config.yaml" if given.is_dir() else given)
    if "trial" not in document.tree:
        document = space.under(document, "trial")
    document = space.apply_overrides(document, overrides)
    if left := list(space.places(document.tree["trial"])):
        message = "is drawn, and a recipe holds no draws. Fix it: -s path=value, or `search`."
        raise document.error(space.Fault(("trial", *place), message) for place in left)
    kept = {k: v for k, v in (document.tree.get("search") or {}).items() if k in _KEPT}
    stem = f"{given.resolve().name}-again" if given.is_dir() else given.stem
    document.tree["search"] = {**kept, **_ONE_TRIAL, **({"name": name} if name else {})}
    return read_document(document, default_name=re.sub(r"[^\w.-]", "-", stem))
