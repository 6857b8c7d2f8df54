"""How many real images have something generated near them."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import at_least, component
from metasearch.scores.balls import NEAREST, covered, shares, sides
from metasearch.scores.base import Ability, Direction, Sight, Subject


@component
class Coverage:
    """The share of query images with a sample in their ball.

    A ball reaches to the `k`-th nearest other query image of the same task, so one sample far out
    covers nothing. Copies of real images cover well; read it with `copying`. It grows with
    `judging.samples`: compare at equal numbers only.

    Source: Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020,
    eq. 4.
    """

    name: Literal["coverage"] = "coverage"
    k: int = NEAREST  # the neighbour that a ball reaches to

    direction: ClassVar[Direction] = "maximize"
    unit: ClassVar[str] = "share of query"
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
        """[tasks], between 0 and 1.

        Raises:
            DataError: fewer than `least` images on a side.
        """
        samples, query = sides(self, subject)
        return shares(covered(samples, query, self.k).any(1), subject)
