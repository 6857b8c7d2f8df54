"""How much generated images of a class differ, beside real ones."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject, check_enough
from metasearch.scores.pooling import finite_tasks, spread_out


@component
class Diversity:
    """The spread of the samples of a class over that of its query images, in features.

    1 is the level of real images, 0 one image over and over; above 1 samples differ more than real
    ones, which noise does too. A task's value is 1 plus the difference of the two spreads over the
    mean spread of all tasks, so that the mean over tasks is a ratio of means.

    Source: Boutin et al., "Diversity vs. Recognizability", 2022, section 3.1: the intra-class
    standard deviation in features. Differs: told as a ratio to real images.
    """

    name: Literal["diversity"] = "diversity"

    direction: ClassVar[Direction] = "maximize"
    unit: ClassVar[str] = "of real spread"
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 2

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], around 1.

        Raises:
            DataError: fewer than two images on a side.
        """
        check_enough(self, subject)
        keep = finite_tasks(subject)
        samples, query = spread(subject.sample_features), spread(subject.query_features)
        level = query[keep].mean().clamp_min(1e-12)
        return spread_out(1 + (samples - query)[keep] / level, keep)


def spread(features: Tensor) -> Tensor:
    """The root of the mean squared distance from the mean, [tasks], of features [tasks, n, d]."""
    return features.double().var(1).sum(1).sqrt()
