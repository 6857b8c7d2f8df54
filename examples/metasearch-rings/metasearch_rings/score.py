"""A score: is there as much ink in the samples as in real images?"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

import metasearch
from metasearch.scores.base import Ability, Direction, Sight, Subject


@metasearch.component
class Ink:
    """How far the mean brightness of the samples is from that of the query images, in 0 to 2."""

    name: Literal["ink"] = "ink"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "of brightness"
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], 0 if both are equally bright."""
        drawn, real = subject.samples[subject.domain], subject.episodes.query[subject.domain]
        sides = (x.reshape(subject.tasks, -1).double().mean(1) for x in (drawn, real))
        mine, theirs = sides
        return (mine - theirs).abs()
