"""A Gaussian process over the draws of a space: what a score may be where none was seen yet.

NumPy and SciPy only. `outlook` decides what it is told, and where it is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDING = 1e-8  # added to the noise, for what is lost in rounding
STEPS = 60  # in which the likeliest settings of the kernel are looked for


@dataclass(frozen=True)
class Kernel:
    """A function of each draw alone, and one of all draws together, added; all are Matern 5/2.

    Settings are one row of logarithms: the lengths of the joint function by draw, then the lengths
    and the variances of the functions of single draws, then the variance of the joint one.

    Source: Duvenaud et al., "Additive Gaussian Processes", NeurIPS 2011, the first and the full
    order; lengths that grow with the root of the number of draws by Hvarfner et al., "Vanilla
    Bayesian Optimization Performs Great in High Dimensions", ICML 2024.
    """

    words: np.ndarray  # [draws], where values are equal or not, and nothing between

    @cached_property
    def prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each setting."""
        d = len(self.words)
        long = math.sqrt(2) + math.log(d) / 2
        return np.repeat([long, 0.0, -math.log(d), math.log(0.3)], [d, d, d, 1]), np.repeat(
            [math.sqrt(3), 1.0, 1.5, 1.0], [d, d, d, 1]
        )

    @cached_property
    def bounds(self) -> list[tuple[float, float]]:
        """Of each setting."""
        d = len(self.words)
        return [(-4.0, 5.0)] * (2 * d) + [(-8.0, 3.0)] * (d + 1)

    def gaps(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Squared distances by draw, [draws, a, b], of [a, draws] and [b, draws]."""
        gaps = (a.T[:, :, None] - b.T[:, None, :]) ** 2
        gaps[self.words] = gaps[self.words] > 0
        return gaps

    def variance(self, settings: np.ndarray) -> float:
        """Of a score, before any was seen."""
        return float(np.exp(settings[2 * len(self.words) :]).sum())

    def __call__(self, settings: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        """The covariance of scores so far apart, [a, b]."""
        together, alone, shares, share = self._read(settings)
        joint, single = np.tensordot(together, gaps, 1), alone[:, None, None] * gaps
        return share * _matern(joint)[0] + np.tensordot(shares, _matern(single)[0], 1)

    def slope(self, settings: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """How the covariance, weighted and summed, changes with each setting."""
        together, alone, shares, share = self._read(settings)
        joint, joint_slope = _matern(np.tensordot(together, gaps, 1))
        single, single_slope = _matern(alone[:, None, None] * gaps)
        by_draw = np.einsum("ab,dab->d", weights * joint_slope, gaps)
        return np.concatenate([
            -2 * share * together * by_draw,
            -2 * shares * alone * np.einsum("ab,dab,dab->d", weights, single_slope, gaps),
            shares * np.einsum("ab,dab->d", weights, single),
            [share * float((weights * joint).sum())],
        ])  # fmt: skip

    def _read(self, settings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        d = len(self.words)
        inverse, shares = np.exp(-2 * settings[: 2 * d]), np.exp(settings[2 * d :])
        return inverse[:d], inverse[d:], shares[:d], float(shares[d])


class Process:
    """A Gaussian process that was told some scores; its kernel's settings are the likeliest."""

    _QUIET = (math.log(1e-3), 1.5)  # prior of the logarithm of the noise: there is hardly any
    _NOISE = (math.log(1e-6), 1.0)  # its bounds

    def __init__(self, places: np.ndarray, scores: np.ndarray, words: np.ndarray) -> None:
        """Learn from `scores` [n], of mean 0 and deviation 1 or so, at `places` [n, draws]."""
        self._kernel = Kernel(words)
        self._places = places
        self._settings, self._noise = self._likeliest(scores)
        self._root = self._factor(places)
        self._weights = _solve(self._root, scores)

    def at(self, places: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of scores at `places` [m, draws].

        Where it was `asked` [k, draws], a score is as expected, and known soon.
        """
        from scipy.linalg import solve_triangular

        near = self._kernel(self._settings, self._kernel.gaps(places, self._places))
        mean, root = near @ self._weights, self._root
        if len(asked):
            known = np.concatenate([self._places, asked])
            root = self._factor(known)
            near = self._kernel(self._settings, self._kernel.gaps(places, known))
        told = (solve_triangular(root, near.T, lower=True) ** 2).sum(0)
        left = self._kernel.variance(self._settings) - told
        return mean, np.sqrt(np.maximum(left, 1e-12))

    def _factor(self, places: np.ndarray) -> np.ndarray:
        covariance = self._kernel(self._settings, self._kernel.gaps(places, places))
        return np.linalg.cholesky(covariance + self._noise * np.eye(len(places)))

    def _likeliest(self, scores: np.ndarray) -> tuple[np.ndarray, float]:
        """Settings and noise of which prior and likelihood together are greatest.

        Source: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, section 5.4.
        """
        from scipy.optimize import minimize

        kernel, one = self._kernel, np.eye(len(scores))
        gaps = kernel.gaps(self._places, self._places)
        mean, spread = (np.append(*pair) for pair in zip(kernel.prior, self._QUIET, strict=True))

        def loss(row: np.ndarray) -> tuple[float, np.ndarray]:
            noise = math.exp(row[-1])
            root = np.linalg.cholesky(kernel(row[:-1], gaps) + (noise + ROUNDING) * one)
            inverse, far = _solve(root, one), (row - mean) / spread
            fits = inverse @ scores
            weights = (inverse - np.outer(fits, fits)) / 2
            value = scores @ fits / 2 + np.log(np.diag(root)).sum() + far @ far / 2
            slope = np.append(kernel.slope(row[:-1], gaps, weights), noise * np.trace(weights))
            return float(value), slope + far / spread

        found = minimize(
            loss, mean, jac=True, method="L-BFGS-B", bounds=[*kernel.bounds, self._NOISE],
            options={"maxiter": STEPS},
        )  # fmt: skip
        return found.x[:-1], math.exp(found.x[-1]) + ROUNDING


def hope(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """The logarithm of how much lower than `best` normal scores are expected to be, if lower.

    Source: Ament et al., "Unexpected Improvements to Expected Improvement", NeurIPS 2023, eq. 9.
    Differs: SciPy's logarithm of the normal distribution in the place of its own expansion.
    """
    from scipy.special import log_ndtr, ndtr

    z = (best - mean) / deviation
    up, down = np.maximum(z, 0.0), np.minimum(z, 0.0)
    above = np.log(np.exp(-(up**2) / 2) / math.sqrt(2 * math.pi) + up * ndtr(up))
    density = -(down**2) / 2 - math.log(2 * math.pi) / 2
    share = 1 + down * np.exp(
        log_ndtr(down) - density
    )  # cancels far below, where none is hoped for
    below = density + np.log(np.maximum(share, 1e-300))
    return np.log(deviation) + np.where(z > 0, above, below)


def _matern(squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matern 5/2 at squared distances, and its slope in them."""
    root = np.sqrt(5 * squared)
    decay = np.exp(-root)
    return (1 + root + 5 * squared / 3) * decay, -5 / 6 * (1 + root) * decay


def _solve(root: np.ndarray, right: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_solve

    return np.asarray(cho_solve((root, True), right))
