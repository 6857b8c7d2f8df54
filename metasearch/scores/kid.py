"""The kernel distance: MMD with the cubic polynomial alone."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject, check_enough, finite_or_nan
from metasearch.scores.pooling import jackknife, relative, spread_out


@component
class KID:
    """Unbiased MMD^2 with a cubic polynomial between samples and query, times 100.

    It compares means, variances and skewness in features. Zero in expectation when both come from
    one distribution, and then as often negative as positive. `pooled` puts the images of all tasks
    into one heap, relative to the support of their task, and tells pseudo-values of leaving out one
    task: more images for one estimate, which no longer sees a class that lost its variety.

    Source: Binkowski et al., "Demystifying MMD GANs", 2018, section 4 and eq. 4. Differs: the
    kernel is scaled to 1 on average for a real image with itself, per task or over all tasks
    instead of over random subsets.
    """

    name: Literal["kid"] = "kid"
    pooled: bool = False  # all tasks together, or each by itself

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "100 KID"
    proper: ClassVar[bool] = True
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 2  # a pair on each side

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], 100 MMD^2, or pseudo-values of it.

        Raises:
            DataError: fewer than two images on a side.
        """
        if self.pooled:
            samples, query, keep = relative(self, subject)
            return spread_out(100 * _of_the_heap(samples, query), keep)
        check_enough(self, subject)
        x, y = subject.sample_features.double(), subject.query_features.double()
        n, m = x.shape[1], y.shape[1]
        own = (_without_diagonal(x).sum((1, 2)) / (n * (n - 1)), _without_diagonal(y).sum((1, 2)))
        return finite_or_nan(
            100 * (own[0] + own[1] / (m * (m - 1)) - 2 * polynomial(x, y).mean((1, 2)))
        )


def polynomial(x: Tensor, y: Tensor) -> Tensor:
    """The kernel ``((x.y + 1) / 2)^3``, [..., n, m]; 1 where ``x.y`` is 1."""
    return ((x @ y.mT + 1) / 2) ** 3


def _without_diagonal(x: Tensor) -> Tensor:
    k = polynomial(x, x)
    return k - torch.diag_embed(k.diagonal(dim1=-2, dim2=-1))


def _of_the_heap(x: Tensor, y: Tensor) -> Tensor:
    """Pseudo-values [tasks] of MMD^2 of all tasks' features together, [tasks, n, d]."""
    tasks, n, m = len(x), x.shape[1], y.shape[1]
    if not tasks:
        return x.new_empty(0)
    own = [(_sums(side, side), _without_diagonal(side).sum((1, 2))) for side in (x, y)]
    (xx, yy), xy = (_pairs(sums, same) for sums, same in own), _pairs(_sums(x, y))
    left = torch.full_like(xy, tasks - 1.0)
    left[0] = tasks
    n_left, m_left = n * left, m * left
    found = xx / (n_left * (n_left - 1)) + yy / (m_left * (m_left - 1)) - 2 * xy / (n_left * m_left)
    return jackknife(found[0], found[1:])


def _sums(x: Tensor, y: Tensor) -> Tensor:
    """The kernel summed over the images of each pair of tasks, [tasks, tasks]."""
    return torch.stack([polynomial(one, y).sum((1, 2)) for one in x])


def _pairs(sums: Tensor, same: Tensor | None = None) -> Tensor:
    """The sum over all tasks, then without each: [1 + tasks]. `same` replaces the diagonal."""
    if same is not None:
        sums = sums - torch.diag(sums.diagonal() - same)
    alone = sums.sum(0) + sums.sum(1) - sums.diagonal()
    whole = sums.sum()
    return torch.cat([whole.reshape(1), whole - alone])
