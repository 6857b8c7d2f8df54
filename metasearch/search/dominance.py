"""Pruning where several objectives count: is a trial beaten in all of them, and by how many?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from metasearch.search.advice import Advice
from metasearch.search.stopping import Dominated

LATEST = 1000  # trials that one is compared with at a report
NAMED = 3  # of those that beat it


class Reached:
    """What trials reached at each of their reports, objective by objective."""

    def __init__(self, settings: Dominated, advice: Advice) -> None:
        """Begin with nobody."""
        self._settings = settings
        self._advice = advice
        self._at: dict[int, dict[int, tuple[float, ...]]] = defaultdict(dict)  # report, trial

    def reported(
        self, number: int, report: int, score: float, scalars: Mapping[str, float]
    ) -> None:
        """A trial made its report `report`, from 1; one that breaks a bound beats nobody."""
        costs = self._costs(score, scalars)
        kept = all(bound.excess(scalars) <= 0 for bound in self._advice.bounds)
        if kept and all(map(math.isfinite, costs)):
            there = self._at[report]
            there[number] = costs
            if len(there) > LATEST:
                del there[min(there)]

    def beaten(self, number: int, report: int, score: float, scalars: Mapping[str, float]) -> str:
        """Why a trial is not to go on after its report `report`; empty if it may.

        One that does not tell an objective there is not compared.
        """
        mine = np.array(self._costs(score, scalars))
        others = {n: costs for n, costs in self._at[report].items() if n != number}
        settings = self._settings
        spared = report <= settings.warmup or len(others) < settings.startup_trials
        if spared or not np.isfinite(mine).all():
            return ""
        theirs = np.array(list(others.values()))
        beat = np.asarray((theirs <= mine).all(1) & (theirs < mine).any(1))
        if beat.sum() < settings.share * len(others):
            return ""
        numbers = np.array(list(others))
        named = [f"{n:04d}" for n in numbers[beat]]
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        names = ", ".join(("score", *(name for name, _ in self._advice.also)))
        return f"worse in all of {names} than {', '.join(named[:NAMED])}{more} of {len(others)}"

    def _costs(self, score: float, scalars: Mapping[str, float]) -> tuple[float, ...]:
        """Objective by objective, low is good; NaN where one is not told."""
        advice = self._advice
        told = [(score, advice.direction)]
        told += [(scalars.get(f"score/{name}", math.nan), way) for name, way in advice.also]
        return tuple(value if way == "minimize" else -value for value, way in told)
