"""CMA-ES over what was told: a distribution over numbers, evolved generation by generation."""

from __future__ import annotations

import bisect
import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from metasearch import space
from metasearch.errors import EnvironmentFault
from metasearch.rng import Stream
from metasearch.search.advisors import CMAES
from metasearch.search.cube import Cube

if TYPE_CHECKING:
    from cmaes import CMA


class Evolution:
    """What is suggested is a function of the seed, the number, and the trials that were told.

    A generation is the next so many of these by number, whenever they ended. What came of each is
    kept, so that a trial that ends late costs the generations from its own on, and none before.
    """

    def __init__(self, settings: CMAES, tree: Any, seed: int) -> None:
        """Of a search with this seed; nothing is told yet.

        Raises:
            EnvironmentFault: the package `cmaes` is not installed.
        """
        try:
            from cmaes import CMA
        except ImportError as fault:
            raise EnvironmentFault(
                "the sampler 'cma_es' needs cmaes, which is not installed. "
                "Run: pip install 'metasearch[search]'"
            ) from fault
        self._tree = tree
        self._cube = Cube(space.draws(tree))
        self._seed = seed
        sides = len(self._cube.draws)
        self._size = settings.population or 4 + math.floor(3 * math.log(sides))
        start = CMA(
            mean=np.full(sides, 0.5),
            sigma=settings.spread,
            bounds=np.tile([0.0, 1.0], (sides, 1)),
            population_size=self._size,
        )
        self._after: list[CMA] = [start]  # so many whole generations
        self._told: list[tuple[int, tuple[float, ...], np.ndarray]] = []  # by number

    def tell(self, number: int, params: Mapping[str, Any], rank: tuple[float, ...]) -> None:
        """A trial is over; `rank` is small where it went well."""
        (place,) = self._cube.places([params])
        at = bisect.bisect(self._told, number, key=lambda told: told[0])
        self._told.insert(at, (number, rank, place))
        del self._after[at // self._size + 1 :]

    def suggest(self, number: int) -> dict[str, Any]:
        """Values of draws of trial `number`."""
        for first in range(
            (len(self._after) - 1) * self._size, len(self._told) - self._size + 1, self._size
        ):
            generation = sorted(self._told[first : first + self._size], key=lambda told: told[1])
            evolved = copy.deepcopy(self._after[-1])
            evolved.tell([(place, float(i)) for i, (_, _, place) in enumerate(generation)])
            self._after.append(evolved)
        drawn = copy.deepcopy(self._after[-1])
        drawn.reseed_rng(Stream(self._seed).at("cma_es", number).key % 2**32)
        place = np.clip(drawn.ask(), 0.0, 1 - 1e-12)
        return space.point_at(self._tree, self._cube.named(place))
