"""How much of what is real can be generated."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import at_least, component
from metasearch.scores.balls import NEAREST, covered, shares, sides
from metasearch.scores.base import Ability, Direction, Sight, Subject


@component
class Recall:
    """The share of query images that lie where samples are: in the ball of some sample.

    A ball reaches to the `k`-th nearest sample of the same task. 1 is won by one far sample with a
    wide ball; read it with `precision`, and compare at equal `judging.samples` only.

    Source: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative
    Models", 2019, eq. 2.
    """

    name: Literal["recall"] = "recall"
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
        return shares(covered(query, samples, self.k).any(2), subject)
