"""How deep among the real images the generated ones lie."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import at_least, component
from metasearch.scores.balls import NEAREST, covered, shares, sides
from metasearch.scores.base import Ability, Direction, Sight, Subject


@component
class Density:
    """How many query balls hold a sample, on average, over `k`.

    A ball reaches to the `k`-th nearest other query image of the same task. About 1 for real
    images; above 1 where samples crowd in the middle of the real ones, so it is won by drawing the
    mean; read it with `coverage`.

    Source: Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020,
    eq. 3.
    """

    name: Literal["density"] = "density"
    k: int = NEAREST  # the neighbour that a ball reaches to

    direction: ClassVar[Direction] = "maximize"
    unit: ClassVar[str] = "balls over k"
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least(self, k=1)

    @property
    def least(self) -> int:
        """A ball needs its neighbours, and somebody to reach."""
        return self.k + 2

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], at least 0.

        Raises:
            DataError: fewer than `least` images on a side.
        """
        samples, query = sides(self, subject)
        return shares(covered(samples, query, self.k).double().sum(2) / self.k, subject)
