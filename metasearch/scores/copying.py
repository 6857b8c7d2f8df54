"""Whether generated images are copies of those that were adapted to."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from metasearch.registry import component
from metasearch.scores.balls import distances, sides
from metasearch.scores.base import Ability, Direction, Sight, Subject
from metasearch.scores.pooling import finite_tasks, spread_out


@component
class Copying:
    """The data-copying test: are samples nearer to the support than real images are?

    Each task compares the distances to the nearest support image of samples and of query images by
    the Mann-Whitney test; the mean over tasks is Stouffer's z of all of them together. About
    standard normal for real images; **below -3 the samples are copies**; far above 0 they lie
    further off than real images do. It is a guard and no measure of quality: noise is no copy, and
    samples that crowd in the middle of their class look a little like copies.

    Source: Meehan et al., "A Non-Parametric Test to Detect Data-Copying in Generative Models",
    2020, section 3. Differs: tasks are in the place of cells, each weighs the same, and a task's
    value is its z times the root of the number of tasks, so that the mean is Stouffer's z.
    """

    name: Literal["copying"] = "copying"

    direction: ClassVar[Direction] = "maximize"
    unit: ClassVar[str] = "z"
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 2

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], whose mean is the test's z.

        Raises:
            DataError: fewer than two images on a side.
        """
        samples, query = sides(self, subject)
        keep, support = finite_tasks(subject), subject.support_features.double()
        x, y = (distances(side[keep], support[keep]).amin(2) for side in (samples, query))
        return spread_out(mann_whitney(x, y) * math.sqrt(len(x)), keep)


def mann_whitney(x: Tensor, y: Tensor) -> Tensor:
    """The z of the Mann-Whitney test of each row, [tasks], corrected for ties.

    Positive where numbers of `x` [tasks, n] are mostly above those of `y` [tasks, m]; 0 where all
    are equal.
    """
    n, m = x.shape[1], y.shape[1]
    above = (x.unsqueeze(2) - y.unsqueeze(1)).sign()
    surplus = above.sum((1, 2)) / 2  # U minus its mean under chance
    both = torch.cat([x, y], 1)
    same = (both.unsqueeze(2) == both.unsqueeze(1)).sum(2)  # how many tie with each, itself too
    total = n + m
    ties = (same.double().square() - 1).sum(1) / (total * (total - 1))
    variance = n * m / 12 * (total + 1 - ties)
    return torch.where(variance > 1e-9, surplus / variance.clamp_min(1e-9).sqrt(), 0.0)
