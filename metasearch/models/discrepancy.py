"""How far two sets of images are apart, differentiably, and a fixed space to compare them in.

The space is for learning by, not for judging: scores compare images in features of their own, so
that what a score says is not how well its ruler was fooled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.rng import Stream

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Features [tasks, n, d] and [tasks, m, d] to similarities [tasks, n, m]."""

WIDTHS = (0.5, 1.0, 2.0)  # of a scale: what a radial kernel takes for near


def mmd_squared(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """The U-statistic of MMD^2 of each task [tasks] for features [tasks, n, d], [tasks, m, d].

    Source: Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012, eq. 3. Without bias: zero in
    expectation when both sets come from one distribution.
    """
    return (
        _mean_of_pairs(kernel(x, x)) + _mean_of_pairs(kernel(y, y)) - 2 * kernel(x, y).mean((1, 2))
    )


def _mean_of_pairs(k: Tensor) -> Tensor:
    """The mean of [tasks, n, n] over pairs of different images."""
    n = k.shape[1]
    return (k.sum((1, 2)) - k.diagonal(dim1=1, dim2=2).sum(1)) / (n * (n - 1))


def radial(x: Tensor, y: Tensor, scale: Tensor | float, widths: Sequence[float] = WIDTHS) -> Tensor:
    """The mean of Gaussian kernels whose widths are multiples of `scale`, a number or [tasks]."""
    near = torch.as_tensor(scale, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
    squared = squared_distances(x, y)
    parts = [torch.exp(-squared / (2 * (width * near) ** 2)) for width in widths]
    return torch.stack(parts).mean(0)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x - y||^2 between rows of [tasks, n, d] and [tasks, m, d]; [tasks, n, m]."""
    sums = x.square().sum(2).unsqueeze(2) + y.square().sum(2).unsqueeze(1)
    # The difference of large numbers may fall a little below zero.
    return (sums - 2 * x @ y.mT).clamp_min(0)


def image_mmd(images: Tensor, real: Tensor, tasks: int) -> Tensor:
    """Unbiased MMD^2 of each task's images [tasks * n, c, h, w] to its real ones, [tasks].

    In the fixed space, with radial kernels as wide as the task's real images are apart (a constant
    of the derivative). Needs two images on each side.
    """
    x, y = (fixed_features(side).reshape(tasks, len(side) // tasks, -1) for side in (images, real))
    with torch.no_grad():
        n = y.shape[1]
        between = squared_distances(y, y).sqrt().sum((1, 2)) / (n * (n - 1))
    scale = between.clamp_min(1e-6)
    return mmd_squared(x, y, lambda a, b: radial(a, b, scale))


def fixed_features(images: Tensor) -> Tensor:
    """Images [n, c, h, w] to vectors [n, d] that depend on nothing that is learned.

    The image at a half and a quarter of its size, and random convolutions of it, each with an equal
    share: pooled pixels say where ink is, filters what strokes look like.
    """
    n = images.shape[0]
    parts = [F.avg_pool2d(images, k, ceil_mode=True).flatten(1) for k in (2, 4)]
    x = images
    for weight in _filters(images.shape[1]):
        x = F.relu(F.conv2d(x, weight.to(x), stride=2, padding=2))
    parts.append(x.reshape(n, -1))
    return torch.cat([part / part.shape[1] ** 0.5 for part in parts], 1)


@lru_cache(maxsize=8)
def _filters(channels: int) -> tuple[Tensor, ...]:
    """Two layers of 5x5 filters of mean zero, drawn once and for all."""
    found = []
    for i, (a, b) in enumerate(((channels, 16), (16, 32))):
        make = Stream(0).at("fixed filters", channels, i).torch()
        weight = torch.randn(b, a, 5, 5, generator=make, dtype=torch.float64)
        weight -= weight.mean((1, 2, 3), keepdim=True)
        found.append(weight * (2 / (a * 25)) ** 0.5)
    return tuple(found)


def energy(drawn: Tensor, real: Tensor) -> Tensor:
    """E||x - y|| - E||x - x'|| / 2 of each row [n], of its drawings [n, k, ...] and its real image.

    The first mean is over the k drawings, the second over pairs of them: with more of them it is
    the same on average, and varies less. Lengths are per number, so that sizes compare. The mean
    over rows is half of the energy distance between what is drawn and what is real, and a constant:
    it is least where they are alike, not where all drawings are the mean one.

    Source: Székely & Rizzo, "Energy statistics", 2013, eq. 5; for a generator, Bellemare et al.,
    "The Cramer Distance as a Solution to Biased Wasserstein Gradients", 2017, section 4.
    """
    pairs = combinations(range(drawn.shape[1]), 2)
    between = torch.stack([drawn[:, i] - drawn[:, j] for i, j in pairs], 1)
    return _length(drawn - real.unsqueeze(1)) - 0.5 * _length(between)


def _length(x: Tensor) -> Tensor:
    """The mean length of vectors [n, k, ...], for each of n."""
    # A length has no derivative at 0.
    return (x.flatten(2).square().mean(2) + 1e-8).sqrt().mean(1)
