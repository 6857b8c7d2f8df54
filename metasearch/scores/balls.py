"""Balls around images that reach to their nearest neighbours: where there is data, roughly."""

from __future__ import annotations

import torch
from torch import Tensor

from metasearch.scores.base import Score, Subject, check_enough
from metasearch.scores.pooling import finite_tasks

NEAREST = 3  # the neighbour that a ball reaches to, unless told otherwise


def sides(score: Score, subject: Subject) -> tuple[Tensor, Tensor]:
    """Features of samples [tasks, n, d] and query [tasks, m, d], float64.

    Raises:
        DataError: fewer than ``score.least`` images on a side.
    """
    check_enough(score, subject)
    return subject.sample_features.double(), subject.query_features.double()


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances [tasks, n, m]; equal images are at 0 exactly."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def radii(x: Tensor, k: int) -> Tensor:
    """How far each image of [tasks, n, d] is from its k-th nearest other one of its task."""
    return distances(x, x).kthvalue(k + 1, dim=2).values  # the nearest is the image itself


def covered(points: Tensor, centres: Tensor, k: int) -> Tensor:
    """Whether a point lies in the ball of a centre, bool [tasks, points, centres]."""
    return distances(points, centres) <= radii(centres, k).unsqueeze(1)


def shares(hits: Tensor, subject: Subject) -> Tensor:
    """The mean of each row [tasks, n] as float64, with NaN for tasks that diverged."""
    return torch.where(finite_tasks(subject), hits.double().mean(1), torch.nan)
