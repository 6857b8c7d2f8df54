"""Is one arm better than another, measured on the same tasks?"""

from __future__ import annotations

import math

import numpy as np

EXACT = 14  # pairs up to which every assignment of signs is counted


def signed_rank(difference: np.ndarray) -> float:
    """One-sided p that differences [v] are as far above zero as they are, were they symmetric.

    Differences of zero are left out; of equal size they share their ranks; not finite ones count as
    the largest with their sign, NaN as zero.

    Source: Wilcoxon, "Individual Comparisons by Ranking Methods", 1945. Exact up to 14 pairs, the
    normal approximation beyond.
    """
    d = np.nan_to_num(np.asarray(difference, float), nan=0.0, posinf=1e300, neginf=-1e300)
    d = d[d != 0]
    n = len(d)
    if n == 0:
        return 1.0
    ranks = _ranks(np.abs(d))
    found = ranks[d > 0].sum()
    if n <= EXACT:
        signs = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float((signs @ ranks >= found - 1e-9).mean())
    mean, spread = n * (n + 1) / 4, math.sqrt((ranks**2).sum() / 4)
    return 0.5 * math.erfc((found - 0.5 - mean) / (spread * math.sqrt(2)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: np.ndarray = (last - (counts - 1) / 2)[index]
    return found


def means(losses: np.ndarray) -> np.ndarray:
    """The mean of each row [n, v], infinite where a task is not finite or none was measured."""
    if losses.shape[1] == 0:
        return np.full(len(losses), np.inf)
    found: np.ndarray = np.where(np.isfinite(losses), losses, np.inf).mean(1)
    return found
