"""How much of what is generated looks real."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import at_least, component
from metasearch.scores.balls import NEAREST, covered, shares, sides
from metasearch.scores.base import Ability, Direction, Sight, Subject


@component
class Precision:
    """The share of samples that lie where real images are: in the ball of some query image.

    A ball reaches to the `k`-th nearest query image of the same task. 1 is won by drawing one good
    image over and over; read it with `recall`. Means over tasks are those of all tasks together.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
    Models", 2019, eq. 2.
    """

    name: Literal["precision"] = "precision"
    k: int = NEAREST  # the neighbour that a ball reaches to

    direction: ClassVar[Direction] = "maximize"
    unit: ClassVar[str] = "share of samples"
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
        return shares(covered(samples, query, self.k).any(2), subject)
