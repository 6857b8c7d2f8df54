"""Who was chosen since the last report, and how sure the rules are: the story of a strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metasearch.selectors.base import Axis
from metasearch.trial.config import TrialConfig
from metasearch.trial.population import Population, selector_of

SHOWN = 11  # groups of tasks that are told of one by one; the rest together
AXES: tuple[Axis, ...] = ("tasks", "algorithms", "models")


def story(
    config: TrialConfig, population: Population, task_groups: Sequence[str]
) -> dict[str, float]:
    """Numbers of every axis on which a rule has a choice and is not random.

    "strategy/<axis>/entropy" in [0, 1], "/effective" number of arms, "/largest" chance, "/gini" of
    all counts so far; "/share/<arm>" of those since the last report: of the draws of tasks, by
    group, and of the meta-steps that algorithms and models had a part in.
    """
    told: dict[str, float] = {}
    for axis in AXES:
        counts = population.counts[axis]
        if len(counts) < 2 or selector_of(config, axis).kind == "random":
            continue
        place = f"strategy/{axis}"
        told |= {f"{place}/{name}": v for name, v in spread(population.chances[axis]).items()}
        told[f"{place}/gini"] = gini(counts)
        recent = counts - population.marks.get(axis, np.zeros_like(counts))
        names = task_groups if axis == "tasks" else arm_names(config, axis)
        told |= {f"{place}/share/{name}": v for name, v in shares(recent, names).items()}
        population.marks[axis] = counts.copy()
    return told


def spread(chances: np.ndarray) -> dict[str, float]:
    """How evenly chances [n] are spread."""
    p = chances[chances > 0]
    entropy = float(-(p * np.log(p)).sum())
    return {
        "entropy": entropy / math.log(len(chances)),
        "effective": math.exp(entropy),
        "largest": float(chances.max()),
    }


def gini(counts: np.ndarray) -> float:
    """0 if all were drawn equally often, towards 1 if one took all."""
    n, total = len(counts), counts.sum()
    if total == 0:
        return 0.0
    ordered = np.sort(counts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def shares(counts: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The share of each name in the draws; beyond a dozen names the smaller are "others"."""
    every = sorted(set(names))
    sums = dict.fromkeys(every, 0)
    for name, count in zip(names, counts.tolist(), strict=True):
        sums[name] += count
    total = max(int(counts.sum()), 1)
    if len(every) > SHOWN + 1:
        # By name, not by count: the same names must be told of in every report.
        kept = every[:SHOWN]
        rest = sum(sums[name] for name in every[SHOWN:])
        return {name: sums[name] / total for name in kept} | {"others": rest / total}
    return {name: sums[name] / total for name in every}


def arm_names(config: TrialConfig, axis: Axis) -> list[str]:
    """The arms of an axis as people know them: their number and name."""
    return [f"{i} {arm.name}" for i, arm in enumerate(getattr(config, axis))]
