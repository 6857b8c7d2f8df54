"""Suggestions that need neither Optuna nor a past: functions of the seed and a trial's number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from metasearch import space
from metasearch.rng import Stream
from metasearch.search.advisors import GP, QMC, TPE, Sampler
from metasearch.space import Draw

EVEN = 10  # suggestions that are spread evenly at most, unless a search says how many


@dataclass(frozen=True)
class Points:
    """What is suggested for a space; see `at`."""

    sampler: Sampler
    tree: Any
    seed: int  # of the search
    first: Sequence[Mapping[str, Any]] = ()  # tried before; what they leave open is sampled

    def at(self, number: int) -> dict[str, Any] | None:
        """Values of draws of trial `number`; None if they depend on what was told before."""
        if number < len(self.first):
            return dict(self.first[number])
        if (even := number - len(self.first)) < self._spread:
            return space.point_at(self.tree, self._named(self._latin(even, self._spread)))
        if isinstance(self.sampler, QMC):
            return space.point_at(self.tree, self._named(self._sobol(number)))
        return None

    def anywhere(self, stream: Stream) -> dict[str, Any]:
        """A recipe at random."""
        return space.point_at(self.tree, self._named(stream.numpy().random(len(self._draws))))

    @cached_property
    def _spread(self) -> int:
        """So many suggestions after `first` are spread evenly, for too little is known yet.

        A recipe that is tried from several seeds tells of one place.
        """
        known = len({frozenset(params.items()) for params in self.first})
        return max(0, self._startup - known)

    @property
    def _startup(self) -> int:
        match self.sampler:
            case TPE(startup_trials=startup):
                return startup
            case GP(startup_trials=startup):
                return min(1 + len(self._draws), EVEN) if startup is None else startup
        return 0

    @cached_property
    def _draws(self) -> list[Draw]:
        return space.draws(self.tree)

    def shuffled(self) -> Iterator[dict[str, Any]]:
        """Every recipe there is, once; there must be an end to them."""
        found = list(space.recipes(self.tree))
        order = Stream(self.seed).at("grid").numpy().permutation(len(found))
        return (found[i] for i in order)

    def _named(self, places: np.ndarray) -> dict[str, float]:
        inside = np.clip(places, 0.0, 1 - 1e-12)
        return {draw.path: float(u) for draw, u in zip(self._draws, inside, strict=True)}

    def _latin(self, number: int, count: int) -> np.ndarray:
        """Point `number` of so many of which each has a slice of every draw for itself.

        Source: McKay et al., "A Comparison of Three Methods for Selecting Values of Input
        Variables", Technometrics 21(2), 1979.
        """
        draw = Stream(self.seed).at("latin").numpy()
        sides = len(self._draws)
        slices = np.array([draw.permutation(count) for _ in range(sides)]).reshape(sides, count)
        return (slices[:, number] + draw.random((sides, count))[:, number]) / count

    def _sobol(self, number: int) -> np.ndarray:
        from scipy.stats.qmc import Sobol

        sequence = Sobol(len(self._draws), rng=Stream(self.seed).at("qmc").numpy())
        return sequence.fast_forward(number).random(1)[0] if number else sequence.random(1)[0]
