"""What a recipe must beat: no meta-learning, from the same network, budget and inner loop."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metasearch.algorithms import ALGORITHMS
from metasearch.algorithms.base import Adapter
from metasearch.engine.base import InnerLoop
from metasearch.registry import to_data
from metasearch.scores.interval import paired_difference
from metasearch.search.files import read_json, to_json, write_atomically
from metasearch.trial.config import Strategy, TrialConfig
from metasearch.trial.loop import Bench, champion_at, run_trial
from metasearch.trial.population import Champion


@dataclass(frozen=True)
class Rival:
    """Something that is scored beside the winner."""

    name: str
    adapter: Adapter


def baseline_config(winner: TrialConfig, model: Any, inner: InnerLoop, name: str) -> TrialConfig:
    """The winner's recipe with its meta-algorithm replaced, and nothing left to select."""
    return replace(
        winner,
        models=(model,),
        algorithms=(ALGORITHMS[name](inner=inner),),
        strategy=Strategy(),
    )


def train(folder: Path, winner: TrialConfig, champion: Champion, name: str, bench: Bench) -> Rival:
    """Meta-train a baseline, or take the one that was trained for this recipe before."""
    adapter = champion.adapter
    inner = replace(champion.algorithm.inner, rates="fixed", adapts="all")
    config = baseline_config(winner, adapter.learner.family, inner, name)
    key = hashlib.sha256(to_json(to_data(config)).encode()).hexdigest()[:12]
    place = folder / "baselines" / f"{name}-{key}"
    if not (place / "manifest.json").exists():
        last = None
        for report in run_trial(config, bench=bench):
            last = report
        assert last is not None
        assert last.snapshot is not None
        shutil.rmtree(place, ignore_errors=True)
        last.snapshot.save(place)
    return Rival(name, champion_at(config, place, bench).adapter)


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


def remembered(folder: Path, trial: int) -> dict[str, Any] | None:
    """What `compare` found for this trial before."""
    return read_json(folder / "baselines" / f"{trial:04d}.json")


def remember(folder: Path, trial: int, found: Mapping[str, Any]) -> None:
    """Keep it for `best` and for the export."""
    (folder / "baselines").mkdir(exist_ok=True)
    write_atomically(folder / "baselines" / f"{trial:04d}.json", to_json(found) + "\n")
