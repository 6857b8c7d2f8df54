"""Suggestions that need no Optuna: a spread sequence, all recipes, and an evolved distribution.

Each is a function of the seed, the number of the trial, and what was told before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from metasearch import space
from metasearch.errors import EnvironmentFault
from metasearch.rng import Stream
from metasearch.search.advisors import CMAES, GP, QMC, TPE, Grid, Sampler
from metasearch.space import Draw

EVEN = 10  # suggestions that are spread evenly at most, unless a search says how many

Past = Sequence[tuple[Mapping[str, Any], tuple[float, ...]]]
"""Trials that ended, by number: values of the draws, and a key that is small where it went well."""


@dataclass(frozen=True)
class Points:
    """What is suggested for a space; see `at`."""

    sampler: Sampler
    tree: Any
    seed: int  # of the search
    first: Sequence[Mapping[str, Any]] = ()  # tried before; what they leave open is sampled

    def at(self, number: int, past: Callable[[], Past]) -> dict[str, Any] | None:
        """Values of draws of trial `number`; None if Optuna's sampler decides on all of them.

        Raises:
            EnvironmentFault: a package that the sampler needs is not installed.
        """
        if number < len(self.first):
            return dict(self.first[number])
        if (even := number - len(self.first)) < self._spread:
            return space.point_at(self.tree, self._named(self._latin(even, self._spread)))
        match self.sampler:
            case QMC():
                return space.point_at(self.tree, self._named(self._sobol(number)))
            case Grid():
                return self._grid[number % len(self._grid)]
            case CMAES():
                return space.point_at(self.tree, self._named(self._evolved(number, past())))
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

    @cached_property
    def _grid(self) -> list[dict[str, Any]]:
        found = list(space.recipes(self.tree))
        order = Stream(self.seed).at("grid").numpy().permutation(len(found))
        return [found[i] for i in order]

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

    def _evolved(self, number: int, past: Past) -> np.ndarray:
        """Evolve anew through all whole generations, then draw one more."""
        try:
            from cmaes import CMA
        except ImportError as fault:
            raise EnvironmentFault(
                "the sampler 'cma_es' needs cmaes, which is not installed. "
                "Run: pip install 'metasearch[search]'"
            ) from fault
        assert isinstance(self.sampler, CMAES), "nothing else is evolved"
        sides = len(self._draws)
        size = self.sampler.population or 4 + math.floor(3 * math.log(sides))
        evolution = CMA(
            mean=np.full(sides, 0.5),
            sigma=self.sampler.spread,
            bounds=np.tile([0.0, 1.0], (sides, 1)),
            seed=Stream(self.seed).at("cma_es", number).key % 2**32,
            population_size=size,
        )
        for first in range(0, len(past) - size + 1, size):
            generation = sorted(past[first : first + size], key=lambda told: told[1])
            places = [self._places(params) for params, _ in generation]
            evolution.tell([(place, float(rank)) for rank, place in enumerate(places)])
        return np.asarray(evolution.ask())

    def _places(self, params: Mapping[str, Any]) -> np.ndarray:
        return np.array([space.place_of(draw, params[draw.path]) for draw in self._draws])
