"""What a search would take: a few of its recipes tried for a moment, the rest in proportion."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from metasearch import space
from metasearch.observe.grid import sample_grid, to_png
from metasearch.rng import Stream
from metasearch.search.backend import Resources
from metasearch.search.config import SearchFile
from metasearch.search.home import home_of
from metasearch.search.process import limit_threads, threads_restored
from metasearch.search.worker import KEPT
from metasearch.tasks.base import SPLITS
from metasearch.tasks.words import called
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import judge
from metasearch.trial.loop import Bench, Trial, bench_for

Tell = Callable[[str], None]

RECIPES = 3  # drawn at random and measured
ENOUGH_S = 20.0  # after which no further recipe is measured
_STEPS_S, _STEPS = 1.5, 20  # meta-steps of a recipe are timed for so long, and at most so many
_REST = 100_000  # bytes of a trial beside checkpoints and pictures
_TWICE = 2  # a picture is kept as a file and for TensorBoard


@dataclass(frozen=True)
class Measured:
    """One recipe, measured."""

    meta_step_s: float  # 0 for what does not train
    gradients: int  # of a meta-step
    judging_s: float  # of one evaluation on the `search` tasks
    trial_s: float  # of the whole budget, in proportion
    trial_bytes: int  # on disk, likewise


@dataclass(frozen=True)
class Rehearsal:
    """What a search would take if no trial were stopped early."""

    recipes: tuple[Measured, ...]
    trials: int
    slots: int  # trials at once

    @property
    def trial_s(self) -> float:
        """Of a trial, on average."""
        return fmean(one.trial_s for one in self.recipes)

    @property
    def expected_s(self) -> float:
        """Of all trials; the time limit of the search aside."""
        return self.trial_s * -(-self.trials // self.slots)

    @property
    def disk_bytes(self) -> int:
        """Of all trials."""
        return round(self.trials * fmean(one.trial_bytes for one in self.recipes))


def rehearsed(file: SearchFile, folder: Path, tell: Tell = lambda _: None) -> dict[str, Any]:
    """What a search in `folder` would do and take, as plain data with keys that stay.

    Raises:
        DataError: the source is missing, damaged or too small.
        EnvironmentFault: not one trial fits into this machine.
    """
    config = file.trial(next(space.covering(file.space)).tree)
    size = space.size(file.space)
    with threads_restored():
        limit_threads(file.search.cpus_per_trial)
        data = open_data(file, tell)
        tell("measuring a few recipes")
        found = rehearse(file, bench_for(config))
    seconds = [one.trial_s for one in found.recipes]
    limit = math.inf if file.search.time_s is None else file.search.time_s
    return {
        "name": file.search.name,
        "folder": str(folder),
        "exists": "manifest.json" in home_of(folder).names(),
        "trials": file.search.trials,
        "time_s": limit,
        "draws": size.draws,
        "configurations": size.configurations,
        "branches": size.branches,
        "gradients_per_trial": config.budget.gradients,
        "gradients": config.budget.gradients * file.search.trials,
        "data": data,
        "measured": [vars(one) for one in found.recipes],
        "trial_s": {"mean": found.trial_s, "min": min(seconds), "max": max(seconds)},
        "slots": found.slots,
        "expected_s": min(found.expected_s, limit + found.trial_s),
        "disk_bytes": found.disk_bytes,
    }


def open_data(file: SearchFile, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Open the task source and prepare what scores need; say what it holds.

    Raises:
        DataError: the source is missing, damaged or too small.
    """
    config = file.trial(next(space.covering(file.space)).tree)
    tell(f"reading {called(config.tasks)}")
    bench = bench_for(config)
    splits = {split: len(bench.data.tasks(split)) for split in SPLITS}
    counts = ", ".join(f"{n} {split}" for split, n in splits.items())
    leaks = bench.data.leaks
    found = "no leaks" if leaks.clean else f"{leaks.same_bytes + leaks.near_classes} leaks"
    dropped = f", {len(leaks.dropped)} classes dropped as twins" if leaks.dropped else ""
    tell(f"tasks: {counts}; {found}{dropped}")
    return {
        "source": config.tasks.name,
        "fingerprint": bench.data.fingerprint,
        "shape": list(bench.data.shape),
        "splits": splits,
        "features": bench.features.fingerprint if bench.features else None,
    }


def rehearse(file: SearchFile, bench: Bench) -> Rehearsal:
    """Draw a few recipes of a search and measure them, without writing into any run folder.

    Raises:
        ConfigError: a recipe cannot be run here.
        EnvironmentFault: not one trial fits into this machine.
    """
    began = time.monotonic()
    found: list[Measured] = []
    for i in range(RECIPES):
        if found and (time.monotonic() - began > ENOUGH_S or not file.draws):
            break
        draw = space.random_suggester(Stream(file.search.seed).at("rehearsal", i))
        found.append(measure(file.trial(space.sample(file.space, draw)), bench))
    return Rehearsal(tuple(found), file.search.trials, slots(file))


def slots(file: SearchFile) -> int:
    """How many trials run at once on this machine.

    Raises:
        EnvironmentFault: not one.
    """
    search = file.search
    if search.backend == "local":
        return 1
    import torch

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cards = torch.cuda.device_count()
    need = Resources(search.max_concurrent, search.cpus_per_trial, search.gpus_per_trial)
    if (
        search.gpus_per_trial == "auto"
    ):  # at most; whether cards are shared is measured at the start
        need = need.sized(min(cards, 1))
    return need.fit([(cpus, cards)])


def measure(config: TrialConfig, bench: Bench) -> Measured:
    """Time some meta-steps and one evaluation of a recipe, and weigh what it keeps.

    Raises:
        ConfigError: the families do not fit the source, or the device is not there.
    """
    trial = Trial.open(config, bench)
    step_s, gradients = _time_steps(trial)
    champion, _ = trial.practice.crown()
    began = time.monotonic()
    grid = judge(champion.adapter, config.engine, trial.panel).grid
    judging_s = time.monotonic() - began
    with tempfile.TemporaryDirectory() as folder:
        trial.freeze().save(Path(folder))
        checkpoint = sum(file.stat().st_size for file in Path(folder).iterdir())
    picture = len(to_png(sample_grid(grid)))
    budget, reports = config.budget.gradients, config.budget.reports if gradients else 1
    training_s = step_s * budget / gradients if gradients else 0.0
    return Measured(
        meta_step_s=step_s,
        gradients=gradients,
        judging_s=judging_s,
        trial_s=training_s + reports * judging_s,
        trial_bytes=KEPT * checkpoint + _TWICE * reports * picture + _REST,
    )


def _time_steps(trial: Trial) -> tuple[float, int]:
    """Seconds and gradient evaluations of a meta-step, without the first, which warms up."""
    if not any(algorithm.trains for algorithm in trial.config.algorithms):
        return 0.0, 0
    trial.meta_step()
    began, before, steps = time.monotonic(), trial.gradients, 0
    while steps < _STEPS and (steps == 0 or time.monotonic() - began < _STEPS_S):
        trial.meta_step()
        steps += 1
    return (time.monotonic() - began) / steps, (trial.gradients - before) // steps
