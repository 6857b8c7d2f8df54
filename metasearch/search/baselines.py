"""What a recipe must beat: no meta-learning, from the same network, budget and inner loop."""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metasearch.algorithms import ALGORITHMS
from metasearch.algorithms.mixture import AnyAdapter
from metasearch.interval import paired_difference
from metasearch.registry import to_data
from metasearch.search.backend import placed
from metasearch.search.files import to_json
from metasearch.trial.config import Strategy, TrialConfig, from_data
from metasearch.trial.loop import Bench, champion_at, run_trial
from metasearch.trial.population import Champion


def baseline(winner: TrialConfig, champion: Champion, algorithm: str) -> TrialConfig:
    """The winner's recipe with its meta-algorithm replaced, and nothing left to select."""
    inner = replace(champion.algorithm.inner, rates="fixed", adapts="all")
    return replace(
        winner,
        models=(champion.family,),
        algorithms=(ALGORITHMS[algorithm](inner=inner),),
        strategy=Strategy(),
        start=None,  # what it learned before was paid for by another budget
    )


def train(folder: Path, config: TrialConfig, bench: Bench) -> AnyAdapter:
    """Meta-train a baseline, or take the one that was trained for this recipe on this data before.

    It is trained on the recipe's device, and returned on the CPU.

    Raises:
        RunError: what was kept of it in `folder` is damaged.
    """
    recipe = to_json([to_data(config), bench.data.fingerprint])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    place = folder / "baselines" / f"{config.algorithms[0].name}-{key}"
    if not (place / "manifest.json").exists():
        here = from_data(placed(to_data(config), folder))
        (last,) = deque(run_trial(here, bench=bench), maxlen=1)
        assert last.snapshot is not None
        shutil.rmtree(place, ignore_errors=True)
        last.snapshot.save(place)
    return champion_at(replace(config, device="cpu"), place, bench).adapter


def against(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The paired difference to another recipe on the same tasks; settled if 0 is outside it."""
    pairs = [(mine["per_task"][t], other["per_task"][t]) for t in mine["per_task"]]
    a, b = np.array(pairs).T
    found = paired_difference(a, b)
    return {
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "settled": bool(found.low > 0 or found.high < 0),
    }
