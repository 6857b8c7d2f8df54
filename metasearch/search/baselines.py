"""What a recipe must beat: no meta-learning, at its size and budget, and the recipe of its peer."""

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
from metasearch.trial.config import Strategy, TrialConfig, from_data, problems
from metasearch.trial.loop import Bench, champion_at, run_trial
from metasearch.trial.population import Champion

FIGR = "figr"
_FIGR: Mapping[str, Any] = {
    "models": [
        {
            "name": "gan",
            "latent": 100,
            "net": {
                "name": "conv",
                "width": 32,
                "smallest": 4,
                "norm": "layer",
                "activation": "prelu",
                "upsample": "nearest",
            },
            "objective": {"name": "wasserstein", "penalty": 10.0},
        }
    ],
    "algorithms": [
        {
            "name": "reptile",
            "images": "support",
            "inner": {"optimizer": "sgd", "lr": 1e-3, "steps": 10, "clip": 0},
        }
    ],
    "strategy": {},
    "outer": {"lr": 1e-4, "clip": 0, "schedule": "constant"},
    "start": None,
}


def baseline(winner: TrialConfig, champion: Champion, name: str) -> TrialConfig:
    """FIGR's recipe, or the winner's with another meta-algorithm, and nothing left to select."""
    return figr(winner) if name == FIGR else _without_meta(winner, champion, name)


def figr(winner: TrialConfig) -> TrialConfig:
    """FIGR's recipe for the winner's tasks and budget: Reptile on a Wasserstein GAN, task by task.

    Source: Clouatre & Demers, "FIGR: Few-shot Image Generation with Reptile", 2019, and its code.

    Differs: the penalty is that of the paper it cites, a norm for each image; width 32 in the place
    of 64; images, shots and gradient evaluations are the winner's, which are a few of its million
    episodes. `search_spaces/figr.yaml` says what else is not the same.
    """
    data = to_data(winner)
    return from_data({**data, **_FIGR, "budget": {**data["budget"], "tasks_per_step": 1}})


def no_figr(trial: Mapping[str, Any]) -> str:
    """Why FIGR's recipe cannot stand beside what a search space makes; empty if it can.

    Args:
        trial: the tree that is searched; its tasks and score are the same in all recipes.
    """
    alike = {key: trial[key] for key in ("tasks", "score", "judging") if key in trial}
    return next((message for _, message in problems(from_data({**alike, **_FIGR}))), "")


def itself(name: str, rival: TrialConfig, winner: Champion) -> bool:
    """Whether a baseline is what won: FIGR's to the setting, the others by their algorithm."""
    (algorithm,) = rival.algorithms
    if name == FIGR:
        return rival.models == (winner.family,) and algorithm == winner.algorithm
    return algorithm.name == winner.algorithm.name


def _without_meta(winner: TrialConfig, champion: Champion, algorithm: str) -> TrialConfig:
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
