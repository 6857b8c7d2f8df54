"""What a family is measured by: the middle of its search space, on one source or another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metasearch import space
from metasearch.models.classical import Classical, Kernel
from metasearch.search.config import SearchFile
from metasearch.tasks import Traced
from metasearch.trial.config import Budget, Judging, TrialConfig, from_data

SPACES = Path(__file__).parents[1] / "search_spaces"
NOT_A_FAMILY = ("quickstart", "strategies", "regimes", "seed-gan", "omniglot-gan")


class Middle:
    """Decides on every draw: the first option, the middle of a range."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """The mean, geometric on a logarithmic scale."""
        del name
        return float(np.sqrt(low * high)) if log else (low + high) / 2

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Likewise, as a whole number."""
        return round(self.suggest_float(name, low, high, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """What stands first."""
        del name
        return choices[0]


def files(asked: Sequence[Path]) -> Iterator[Path]:
    """The search spaces of families."""
    for file in sorted(asked or SPACES.glob("*.yaml")):
        if asked or not file.stem.startswith(NOT_A_FAMILY):
            yield file


def recipe(file: Path, size: int, omniglot: str | None, strokes: str | None) -> TrialConfig | None:
    """The middle of a search space, with a budget that time ends; None if its data is not there."""
    found = dict(space.sample(SearchFile.load(file).space, Middle()))
    tasks = elsewhere(found["tasks"], size, omniglot, strokes)
    if tasks is None:
        return None
    config = from_data({**found, "tasks": tasks, "also": []})
    budget = Budget(gradients=10**12, reports=1, tasks_per_step=config.budget.tasks_per_step)
    return replace(config, budget=budget, judging=Judging(tasks=40, samples=24))


def elsewhere(
    tasks: Mapping[str, Any], size: int, omniglot: str | None, strokes: str | None
) -> dict[str, Any] | None:
    """The same tasks at another size, and where a path is given of handwriting.

    What a pen writes is traced in pictures of handwriting, or the drawers' own where their path is
    given; letters that it writes have a space of their own, and no handwriting.
    """
    if tasks["name"] == "traced":
        if omniglot is None:
            return None
        pictures, length = tasks["source"], tasks["length"]  # pictures in their own size
        if strokes is None:
            return {**tasks, "size": size, "source": {**pictures, "path": omniglot}}
        counts = {key: pictures[key] for key in ("shot", "query") if key in pictures}
        return {"name": "strokes", "path": strokes, "size": size, "length": length, **counts}
    if "source" in tasks:
        inner = elsewhere(tasks["source"], size, omniglot, strokes)
        return inner and {**tasks, "source": inner}
    found = {**tasks, "size": size}
    if tasks["name"] in {"glyphs", "omniglot"}:
        kept = {key: found[key] for key in ("size", "shot", "query") if key in found}
        here = {"name": "omniglot", "path": omniglot} if omniglot else {"name": "glyphs"}
        return here | kept
    return found if omniglot is None else None


def recipes(
    file: Path, size: int, omniglot: str | None, strokes: str | None
) -> Iterator[tuple[str, TrialConfig]]:
    """What a file is measured on, by the names of its rows: both kinds of closed forms, and of
    strokes where the drawers' own are at hand.
    """
    pictured = recipe(file, size, omniglot, None)
    if pictured is not None:
        yield file.stem, pictured
        (model,) = pictured.models
        if isinstance(model, Classical):
            kernels = replace(model, kind=Kernel(reach=2))
            yield f"{file.stem}-kernel", replace(pictured, models=(kernels,))
    if strokes and isinstance(getattr(pictured, "tasks", None), Traced):
        written = recipe(file, size, omniglot, strokes)
        assert written is not None, "strokes are at hand"
        yield f"{file.stem}-written", written
