"""Several meta-gradients into one: blends, projections of conflicts, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.base import MetaAlgorithm, MetaGradient, MetaStep, joined
from metasearch.models.base import NoiseSource, Params, noise_of_some
from metasearch.tasks.base import Episodes


def blend(gradients: Sequence[Params], weights: Sequence[float]) -> Params:
    """The weighted sum of gradients brought to one length, the median of their norms.

    Reptile's displacement and a gradient of the query loss differ by orders of magnitude; without
    a common length the weights would mean nothing. One gradient alone stays as it is.
    """
    if len(gradients) == 1:
        return gradients[0]
    norms = [_norm(g) for g in gradients]
    length = torch.stack(norms).median()
    factors = [
        w * length / norm if float(norm) > 0 else w * norm
        for w, norm in zip(weights, norms, strict=True)
    ]
    return {
        name: torch.stack([f * g[name] for f, g in zip(factors, gradients, strict=True)]).sum(0)
        for name in gradients[0]
    }


def with_surgery(
    algorithm: MetaAlgorithm,
    step: MetaStep,
    episodes: Episodes,
    noise: NoiseSource,
    rng: np.random.Generator,
) -> MetaGradient:
    """A meta-gradient from which the conflicts between tasks are projected out; see `pcgrad`.

    Task after task, since each one's own gradient is needed: slower than the mean.
    """
    n = len(episodes.tasks)
    each = [
        algorithm.meta_gradient(
            step.of_some([i]), episodes.select([i]), noise_of_some(noise, n, [i])
        )
        for i in range(n)
    ]
    sound = [x.values for x in each if bool(x.finite.all())]
    whole = joined(each)
    return replace(whole, values=pcgrad(sound, rng)) if sound else whole


def pcgrad(gradients: Sequence[Params], rng: np.random.Generator) -> Params:
    """The mean of gradients from each of which its conflicts with the others were projected out.

    Source: Yu et al., "Gradient Surgery for Multi-Task Learning", 2020, algorithm 1: against the
    ORIGINAL gradients of the others, in random order. Differs: the mean instead of the sum, so
    that the outer rate means the same with and without.
    """
    gram = inner_products(gradients).cpu().numpy()
    k = len(gradients)
    # Every projected gradient is a combination of the original ones: only its coefficients move.
    coefficients = np.eye(k)
    for i in range(k):
        for j in rng.permutation([j for j in range(k) if j != i]):
            overlap = coefficients[i] @ gram[:, j]
            if overlap < 0 and gram[j, j] > 0:
                coefficients[i, j] -= overlap / gram[j, j]
    shares = coefficients.mean(0)
    return {
        name: torch.stack([float(c) * g[name] for c, g in zip(shares, gradients, strict=True)]).sum(
            0
        )
        for name in gradients[0]
    }


def inner_products(gradients: Sequence[Params]) -> Tensor:
    """Gram matrix of gradients, [k, k] float64."""
    k = len(gradients)
    total = torch.zeros(k, k, dtype=torch.float64)
    for name in gradients[0]:
        rows = torch.stack([g[name].flatten() for g in gradients])
        total += (rows @ rows.T).double().cpu()
    return total


def coordinates(gradients: Sequence[Params]) -> np.ndarray:
    """Vectors [k, k] with the inner products of the gradients: a sketch that loses nothing."""
    values, vectors = np.linalg.eigh(inner_products(gradients).numpy())
    found: np.ndarray = vectors * np.sqrt(np.maximum(values, 0))
    return found


def _norm(gradient: Params) -> Tensor:
    return torch.stack([g.square().sum() for g in gradient.values()]).sum().sqrt()
