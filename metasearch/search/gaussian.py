"""A Gaussian process over the draws of a space: what a score may be where none was seen yet.

NumPy and SciPy only. `outlook` decides what it is told, and where it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDING = 1e-8  # added to the noise, for what is lost in rounding
NUDGE = 1e-3  # of a setting, to see how a slope changes
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
        gaps = np.empty((len(self.words), len(a), len(b)))
        for gap, word, mine, other in zip(gaps, self.words, a.T[:, :, None], b.T, strict=True):
            gap[:] = mine != other if word else (mine - other) ** 2
        return gaps

    def variance(self, settings: np.ndarray) -> float:
        """Of a score, before any was seen."""
        return float(np.exp(settings[2 * len(self.words) :]).sum())

    def __call__(self, settings: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        """The covariance of scores so far apart, [a, b]."""
        together, alone, shares, share = self._read(settings)
        found = share * _matern(np.tensordot(together, gaps, 1))
        for gap, word, inverse, own in zip(gaps, self.words, alone, shares, strict=True):
            if word:  # there are two values only
                found += own + own * (_matern(inverse) - 1) * gap
            else:
                found += own * _matern(inverse * gap)
        return np.asarray(found)

    def slope(self, settings: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """How the covariance, weighted and summed, changes with each setting."""
        together, alone, shares, share = self._read(settings)
        squared = np.tensordot(together, gaps, 1)
        joint, by_draw = weights * _matern_slope(squared), []
        for gap, inverse, own in zip(gaps, alone, shares, strict=True):
            single = inverse * gap
            by_draw.append([
                np.vdot(joint, gap),
                own * np.vdot(weights, _matern_slope(single) * single),
                own * np.vdot(weights, _matern(single)),
            ])  # fmt: skip
        lengths, own_lengths, owns = np.transpose(by_draw)
        whole = share * np.vdot(weights, _matern(squared))
        return np.concatenate([-2 * share * together * lengths, -2 * own_lengths, owns, [whole]])

    def _read(self, settings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        d = len(self.words)
        inverse, shares = np.exp(-2 * settings[: 2 * d]), np.exp(settings[2 * d :])
        return inverse[:d], inverse[d:], shares[:d], float(shares[d])


class Process:
    """A Gaussian process that was told some scores, under given settings of its kernel."""

    def __init__(
        self, kernel: Kernel, settings: np.ndarray, noise: float, places: np.ndarray,
        scores: np.ndarray,
    ) -> None:  # fmt: skip
        """Learn from `scores` [n], of mean 0 and deviation 1 or so, at `places` [n, draws]."""
        self._kernel, self._settings, self._noise = kernel, settings, noise
        self._places = places
        self._root = self._factor(places)
        self._weights = _solve(self._root, scores)

    def at(self, places: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of scores at `places` [m, draws].

        Where it was `asked` [k, draws], a score is as expected, and known soon.
        """
        from scipy.linalg import solve_triangular

        known = np.concatenate([self._places, asked])
        root = self._factor(known) if len(asked) else self._root
        near = self._kernel(self._settings, self._kernel.gaps(places, known))
        mean = near[:, : len(self._places)] @ self._weights
        told = (solve_triangular(root, near.T, lower=True) ** 2).sum(0)
        left = self._kernel.variance(self._settings) - told
        return mean, np.sqrt(np.maximum(left, 1e-12))

    def _factor(self, places: np.ndarray) -> np.ndarray:
        covariance = self._kernel(self._settings, self._kernel.gaps(places, places))
        return np.linalg.cholesky(covariance + (self._noise + ROUNDING) * np.eye(len(places)))


@dataclass(frozen=True)
class Belief:
    """What scores tell of the settings of a kernel, with the logarithm of the noise as the last."""

    kernel: Kernel
    places: np.ndarray  # [n, draws]
    scores: np.ndarray  # [n], of mean 0 and deviation 1 or so

    _QUIET = (math.log(1e-3), 1.5)  # prior of the logarithm of the noise: there is hardly any
    _NOISE = (math.log(1e-6), 1.0)  # its bounds

    def processes(self, count: int, rng: np.random.Generator) -> list[Process]:
        """One under the likeliest settings, the others under such as may be the true ones.

        With few scores told, the likeliest are surer than they can be, most of all that a draw
        makes no difference of which nothing was seen yet that it does.
        """
        rows = [self.likeliest, *self.drawn(count - 1, rng)]
        return [
            Process(self.kernel, row[:-1], math.exp(row[-1]), self.places, self.scores)
            for row in rows
        ]

    def drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Settings at random, as likely as they are, [count, settings].

        Source: Snoek et al., "Practical Bayesian Optimization of Machine Learning Algorithms",
        NeurIPS 2012, section 3.2. Differs: a normal distribution about the likeliest (Laplace's
        approximation) in the place of slice sampling.
        """
        from scipy.linalg import solve_triangular

        root = np.linalg.cholesky(self.precision(self.likeliest))
        away = rng.normal(size=(len(root), count))
        rows = self.likeliest + solve_triangular(root, away, lower=True, trans=1).T
        return np.clip(rows, *np.transpose(self._bounds))

    @cached_property
    def likeliest(self) -> np.ndarray:
        """Of which prior and likelihood together are greatest."""
        from scipy.optimize import minimize

        found = minimize(
            self.loss, self._prior[0], jac=True, method="L-BFGS-B", bounds=self._bounds,
            options={"maxiter": STEPS},
        )  # fmt: skip
        return np.asarray(found.x)

    def loss(self, row: np.ndarray) -> tuple[float, np.ndarray]:
        """The negative logarithm of prior times likelihood, but for a constant, and its slope.

        Source: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, section 5.4.
        """
        kernel, one, noise = self.kernel, np.eye(len(self.scores)), math.exp(row[-1])
        root = np.linalg.cholesky(kernel(row[:-1], self._gaps) + (noise + ROUNDING) * one)
        mean, spread = self._prior
        inverse, far = _solve(root, one), (row - mean) / spread
        fits = inverse @ self.scores
        weights = (inverse - np.outer(fits, fits)) / 2
        value = self.scores @ fits / 2 + np.log(np.diag(root)).sum() + far @ far / 2
        slope = kernel.slope(row[:-1], self._gaps, weights)
        return float(value), np.append(slope, noise * np.trace(weights)) + far / spread

    def precision(self, row: np.ndarray) -> np.ndarray:
        """How the slope of the loss changes with each setting, and at least what the prior says.

        By differences, for it is asked once, and the slopes are at hand.
        """
        at = self.loss(row)[1]
        bends = [(self.loss(row + step)[1] - at) / NUDGE for step in NUDGE * np.eye(len(row))]
        values, ways = np.linalg.eigh((np.array(bends) + np.transpose(bends)) / 2)
        return ways * np.maximum(values, self._prior[1].max() ** -2.0) @ ways.T

    @cached_property
    def _gaps(self) -> np.ndarray:
        return self.kernel.gaps(self.places, self.places)

    @cached_property
    def _prior(self) -> tuple[np.ndarray, np.ndarray]:
        mean, spread = self.kernel.prior
        return np.append(mean, self._QUIET[0]), np.append(spread, self._QUIET[1])

    @cached_property
    def _bounds(self) -> list[tuple[float, float]]:
        return [*self.kernel.bounds, self._NOISE]


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


def averaged(hopes: Sequence[np.ndarray]) -> np.ndarray:
    """The logarithm of the mean of what is hoped for, given in logarithms."""
    return np.asarray(np.logaddexp.reduce(hopes, axis=0) - math.log(len(hopes)))


def _matern(squared: np.ndarray) -> np.ndarray:
    """Matern 5/2 at squared distances."""
    root = np.sqrt(5 * squared)
    return (1 + root + root * root / 3) * np.exp(-root)


def _matern_slope(squared: np.ndarray) -> np.ndarray:
    """How that changes with the squared distance."""
    root = np.sqrt(5 * squared)
    return -5 / 6 * (1 + root) * np.exp(-root)


def _solve(root: np.ndarray, right: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_solve

    return np.asarray(cho_solve((root, True), right))
