"""Exact draws from a determinantal point process of fixed size."""

from __future__ import annotations

import numpy as np


def log_elementary(values: np.ndarray, k: int) -> np.ndarray:
    """Logarithms of the elementary symmetric polynomials e_j of the first i values, [k + 1, n + 1].

    Source: Kulesza & Taskar, "Determinantal Point Processes for Machine Learning", 2012,
    algorithm 7; in logarithms, since products of many values leave the range of floats.
    """
    n = len(values)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(values, 0))
    table = np.full((k + 1, n + 1), -np.inf)
    table[0] = 0.0
    for i in range(1, n + 1):
        table[1:, i] = np.logaddexp(table[1:, i - 1], logs[i - 1] + table[:-1, i - 1])
    return table


def draw(kernel: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """`k` different indices with ``P(A) ~ det(L_A)``, for a positive definite L [n, n].

    Source: Kulesza & Taskar, 2012, algorithms 1 and 8.
    """
    values, vectors = np.linalg.eigh(kernel)
    basis = vectors[:, _eigenvectors(values, k, rng)]
    # What is left of each row's squared length once those drawn are projected out: the columns of
    # a Cholesky factor, one for each item.
    left, columns = np.square(basis).sum(1), np.empty((k, len(kernel)))
    found: list[int] = []
    for i in range(k):
        item = int(np.searchsorted(np.cumsum(left), rng.random() * left.sum(), side="right"))
        column = basis @ basis[item] - columns[:i, item] @ columns[:i]
        columns[i] = column / np.sqrt(left[item])
        found.append(item)
        left = np.maximum(left - columns[i] ** 2, 0)
        left[found] = 0.0
    return np.array(found)


def marginals(kernel: np.ndarray, k: int) -> np.ndarray:
    """The chance of each index to be among the `k`, [n]; they sum to `k`."""
    values, vectors = np.linalg.eigh(kernel)
    n = len(values)
    whole = log_elementary(values, k)[k, n]
    chance = np.empty(n)
    for i in range(n):
        rest = log_elementary(np.delete(values, i), k - 1)[k - 1, n - 1]
        chance[i] = np.exp(np.log(max(values[i], 1e-300)) + rest - whole)
    found: np.ndarray = np.square(vectors) @ chance
    return found


def _eigenvectors(values: np.ndarray, k: int, rng: np.random.Generator) -> list[int]:
    table = log_elementary(values, k)
    found: list[int] = []
    for i in range(len(values), 0, -1):
        need = k - len(found)
        if need == 0:
            break
        if i == need:
            found += range(i)
            break
        log_p = np.log(max(values[i - 1], 1e-300)) + table[need - 1, i - 1] - table[need, i]
        if np.log(rng.random()) < log_p:
            found.append(i - 1)
    return found
