"""Which recipe is trained once more, from another seed, to tell what luck did to its score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metasearch.registry import at_least, component

NOTE = "repeats"  # among a trial's notes: the number of the first trial of the same recipe


@component
class Repeats:
    """The last trials of a search train the recipes that lead by then again, from other seeds.

    Whoever is the best of many trials is partly the luckiest, and what a seed does is luck, too:
    the mean over seeds tells how good a recipe is.

    Source: Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", MLSys
    2021, section 3.
    """

    leaders: int = 3  # recipes
    seeds: int = 2  # that each of them is trained from besides

    def __post_init__(self) -> None:
        at_least(self, leaders=1, seeds=1)

    @property
    def trials(self) -> int:
        """How many they are in all."""
        return self.leaders * self.seeds


@dataclass(frozen=True)
class Run:
    """A trial as far as it tells how good its recipe is."""

    number: int
    params: Mapping[str, Any]
    cost: float | None  # low is good, inf if it diverged; None if it did not end, or was stopped


@dataclass(frozen=True)
class Due:
    """A recipe to be trained once more."""

    first: int  # the number of its first trial
    params: Mapping[str, Any]
    seed: int  # added to that of the recipe, and new for it


def due(runs: Iterable[Run], repeats: Repeats) -> Due | None:
    """Of the recipes that lead by their means over seeds, the one that was trained least often.

    None if each was trained often enough, or nothing finished.
    """
    recipes: dict[frozenset[tuple[str, Any]], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.number):
        recipes.setdefault(frozenset(run.params.items()), []).append(run)
    ranked = sorted((mean, made[0].number, made) for made in recipes.values()
                    if math.isfinite(mean := _mean(made)))  # fmt: skip
    short = [made for _, _, made in ranked[: repeats.leaders] if len(made) <= repeats.seeds]
    if not short:
        return None
    made = min(short, key=len)
    return Due(made[0].number, made[0].params, len(made))


def _mean(made: Iterable[Run]) -> float:
    """Of what finished or diverged; inf if nothing did."""
    costs = [run.cost for run in made if run.cost is not None]
    return sum(costs) / len(costs) if costs else math.inf
