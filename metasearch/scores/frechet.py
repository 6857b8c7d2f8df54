"""The Fréchet distance between Gaussians fitted to generated and to real images."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject
from metasearch.scores.pooling import jackknife, relative, spread_out


@component
class Frechet:
    """The squared Fréchet distance of generated and real images of all tasks together.

    Features are relative to the support of their task, in units of the spread within a class: 1 is
    as far off as a class is wide. The distance itself falls as images become more; told are its
    pseudo-values of leaving out one task, whose mean has lost most of that bias, may be below 0,
    and lies near 0 for real images. What is left of the bias depends on ``judging.tasks``,
    ``judging.samples`` and `query`: compare at equal numbers only, and have at least some hundred
    images on each side. It does not see a class that lost its variety, as long as all
    classes together have theirs: read it with `diversity` or `recall`.

    Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017, eq. 6; Chong &
    Forsyth, "Effectively Unbiased FID", 2020, on the bias. Differs: features of our own, relative
    to the support (the FID of all classes in one heap does not see that classes are mixed up), and
    the jackknife over tasks.
    """

    name: Literal["frechet"] = "frechet"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "class variances"
    proper: ClassVar[bool] = True
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 2

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], pseudo-values.

        Raises:
            DataError: fewer than two images on a side.
        """
        samples, query, keep = relative(self, subject)
        if not keep.any():
            return spread_out(samples.new_empty(0), keep)
        (mean_x, cov_x), (mean_y, cov_y) = (moments(side) for side in (samples, query))
        found = frechet_distance(mean_x, cov_x, mean_y, cov_y)
        return spread_out(jackknife(found[0], found[1:]), keep)


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased covariance of features [tasks, n, d]: of all tasks, then without each.

    Of shapes [1 + tasks, d] and [1 + tasks, d, d]; of a single task, [1, d] and [1, d, d].
    """
    tasks, n, _ = x.shape
    first, second = x.sum(1), x.mT @ x
    sums, squares = first.sum(0, keepdim=True), second.sum(0, keepdim=True)
    counts = torch.full((1 + tasks,), n * (tasks - 1), dtype=x.dtype, device=x.device)
    counts[0] = n * tasks
    if tasks == 1:
        counts = counts[:1]
    else:
        sums = torch.cat([sums, sums - first])
        squares = torch.cat([squares, squares - second])
    mean = sums / counts[:, None]
    centred = squares - counts[:, None, None] * mean[:, :, None] * mean[:, None, :]
    return mean, centred / (counts[:, None, None] - 1)


def frechet_distance(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> Tensor:
    """``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))`` of Gaussians, batched: [..., d], [..., d, d].

    The root's trace is the sum of the roots of the eigenvalues of ``C^(1/2) C' C^(1/2)``, which is
    symmetric: no eigenvalue is complex, and those below 0 by rounding count as 0.
    """
    values, vectors = torch.linalg.eigh(cov_x)
    root = (vectors * values.clamp_min(0).sqrt().unsqueeze(-2)) @ vectors.mT
    both = torch.linalg.eigvalsh(root @ cov_y @ root).clamp_min(0).sqrt().sum(-1)
    traces = (cov_x + cov_y).diagonal(dim1=-2, dim2=-1).sum(-1)
    return (mean_x - mean_y).square().sum(-1) + traces - 2 * both
