"""How much each member of an ensemble should count."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from metasearch.selectors.base import Evidence, one_hot
from metasearch.selectors.paired import means

EXACT = 12  # members up to which every support of the simplex is tried


def best_shares(evidence: Evidence | None, n: int) -> np.ndarray:
    """Of densities, those of most likelihood; of samplers, those nearest to real images in MMD.

    Where neither is known, all to the best; where nothing is, evenly.
    """
    if evidence is None:
        return np.full(n, 1 / n)
    if evidence.log_likelihood is not None:
        return mixture_weights(evidence.log_likelihood)
    if evidence.gram is not None and evidence.cross is not None:
        return simplex_minimum(evidence.gram, evidence.cross)
    return one_hot(n, int(means(evidence.losses).argmin()))


def mixture_weights(
    log_likelihood: np.ndarray, *, start: np.ndarray | None = None, steps: int = 500
) -> np.ndarray:
    """Weights [n] that maximise the mean of ``log sum_m w_m p_m`` for nats [n, q], by EM.

    The aim is concave in the weights, and no step makes it smaller (Dempster, Laird & Rubin, 1977).
    A member that gives some image no chance at all gets what the others leave to it.
    """
    nats = np.nan_to_num(log_likelihood, nan=-1e30, neginf=-1e30)
    n = len(nats)
    w = np.full(n, 1 / n) if start is None else np.asarray(start, float)
    relative = np.exp(nats - nats.max(0))
    for _ in range(steps):
        joint = w[:, None] * relative
        new = (joint / np.maximum(joint.sum(0), 1e-300)).mean(1)
        done = np.abs(new - w).max() < 1e-9
        w = new
        if done:
            break
    found: np.ndarray = w / w.sum()
    return found


def mixture_nll(log_likelihood: np.ndarray, weights: np.ndarray) -> float:
    """Mean nats of a mixture, to be minimised."""
    with np.errstate(divide="ignore"):
        return float(-np.logaddexp.reduce(log_likelihood + np.log(weights)[:, None], 0).mean())


def discrepancy(gram: np.ndarray, cross: np.ndarray, weights: np.ndarray) -> float:
    """MMD^2 of a mixture of samplers to real images, less what no weight changes."""
    return float(weights @ gram @ weights - 2 * weights @ cross)


def simplex_minimum(gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """``argmin w'Kw - 2 k'w`` over the simplex, [n].

    Exact: the best of the minima within every face. Beyond 12 members, greedy forward selection.
    """
    n = len(cross)
    if n > EXACT:
        return forward_selection(lambda w: discrepancy(gram, cross, w), n, size=50)
    best = min((one_hot(n, i) for i in range(n)), key=lambda w: discrepancy(gram, cross, w))
    for size in range(2, n + 1):
        for face in combinations(range(n), size):
            w = _within(gram, cross, list(face))
            if w is not None and discrepancy(gram, cross, w) < discrepancy(gram, cross, best):
                best = w
    return best


def _within(gram: np.ndarray, cross: np.ndarray, face: list[int]) -> np.ndarray | None:
    """The stationary point on a face, if it lies inside."""
    m = len(face)
    system = np.block(
        [[2 * gram[np.ix_(face, face)], np.ones((m, 1))], [np.ones((1, m)), np.zeros((1, 1))]]
    )
    try:
        solved = np.linalg.solve(system, np.append(2 * cross[face], 1.0))[:m]
    except np.linalg.LinAlgError:
        return None
    if (solved < 0).any():
        return None
    w = np.zeros(len(cross))
    w[face] = solved
    return w


def forward_selection(loss: Callable[[np.ndarray], float], n: int, *, size: int) -> np.ndarray:
    """Shares [n] of the best bag of at most `size` picks, grown one by one with replacement.

    Source: Caruana et al., "Ensemble Selection from Libraries of Models", 2004, section 2.
    """
    counts = np.zeros(n)
    best, best_loss = one_hot(n, 0), np.inf
    for _ in range(size):
        trials = [counts + one_hot(n, i) for i in range(n)]
        losses = [loss(c / c.sum()) for c in trials]
        pick = int(np.argmin(losses))
        counts = trials[pick]
        if losses[pick] < best_loss:
            best, best_loss = counts / counts.sum(), losses[pick]
    return best
