"""Samplers as plain data: what says which recipe to try.

`search/samplers.py` turns them into Optuna's objects, `search/points.py` asks those that need none.
"""

from __future__ import annotations

from typing import Literal

from metasearch.registry import Table, at_least, component


@component
class TPE:
    """Tree-structured Parzen estimator: draw near what did well, away from what did badly.

    Source: Watanabe, "Tree-Structured Parzen Estimator", arXiv:2304.11127, 2023, as Optuna builds
    it; multivariate, grouped by branch, and with a constant liar for trials that still run.
    """

    name: Literal["tpe"] = "tpe"
    startup_trials: int = 10  # spread evenly before the estimate is trusted
    candidates: int = 24  # drawn from the good ones' density; the most promising is asked

    def __post_init__(self) -> None:
        if self.startup_trials < 0:
            raise ValueError("startup_trials must not be negative")
        if self.candidates < 1:
            raise ValueError("candidates must be at least 1")


@component
class RandomSearch:
    """Every trial drawn afresh: the baseline, and the first choice for very many short trials."""

    name: Literal["random"] = "random"


@component
class QMC:
    """Points of a scrambled Sobol' sequence: at random, but evenly spread from the first trials on.

    Every draw is a coordinate; those in branches that were not picked are not looked at.

    Source: Bergstra & Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012,
    section 5.
    """

    name: Literal["qmc"] = "qmc"


@component
class Grid:
    """Every recipe there is, once, in an order drawn by the seed. Draws must be finite."""

    name: Literal["grid"] = "grid"


@component
class GP:
    """A Gaussian process of Matern kernels, and log expected improvement: for few, dear trials.

    It learns from all that reported, also from who was stopped or waits; see `outlook.Outlook`.
    With several objectives it is Optuna's, which learns from finished trials alone, takes most of a
    second for a suggestion at a hundred of them, and knows no branches.

    Source: Ament et al., "Unexpected Improvements to Expected Improvement", NeurIPS 2023.
    """

    name: Literal["gp"] = "gp"
    startup_trials: int | None = None  # spread evenly; null: one more than draws, ten at most

    def __post_init__(self) -> None:
        if self.startup_trials is not None:
            at_least(self, startup_trials=1)


@component
class CMAES:
    """Evolve a normal distribution over numbers: for flat spaces of numbers, and many trials.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772, as the package
    `cmaes` has it. Differs: a generation is the next so many trials that ended, by number; stopped
    trials rank behind finished ones, and among themselves by how far they came; those that
    break a bound rank behind all, by how far.
    """

    name: Literal["cma_es"] = "cma_es"
    population: int | None = None  # trials per generation; null takes 4 + 3 ln(draws)
    spread: float = 0.17  # of the first generation, of the width of each draw

    def __post_init__(self) -> None:
        if self.population is not None:
            at_least(self, population=4)
        if not 0 < self.spread <= 1:
            raise ValueError("spread must be above 0 and at most 1")


@component
class NSGA2:
    """Cross the best recipes, and mutate them: for several objectives and thousands of trials.

    Source: Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", 2002, as
    Optuna builds it; draws that not all recipes have are drawn at random.
    """

    name: Literal["nsga2"] = "nsga2"
    population: int = 50  # finished trials per generation

    def __post_init__(self) -> None:
        at_least(self, population=2)


@component
class NSGA3:
    """NSGA-II with reference points that keep the front spread out: from three objectives on.

    Source: Deb & Jain, "An Evolutionary Many-Objective Optimization Algorithm", 2014, as Optuna
    builds it.
    """

    name: Literal["nsga3"] = "nsga3"
    population: int = 50  # finished trials per generation

    def __post_init__(self) -> None:
        at_least(self, population=2)


@component
class Auto:
    """Picks a sampler by the space, the number of trials and of objectives; see `fit.pick`.

    What it picked when the search began, and why, stands in its manifest and stays. As a pruner it
    is none where trials race, for who is set aside may go on, `dominated` where several objectives
    count, and `median` elsewhere.
    """

    name: Literal["auto"] = "auto"


SAMPLERS = Table(
    "sampler",
    {
        "auto": Auto,
        "tpe": TPE,
        "gp": GP,
        "cma_es": CMAES,
        "nsga2": NSGA2,
        "nsga3": NSGA3,
        "qmc": QMC,
        "grid": Grid,
        "random": RandomSearch,
    },
)

Sampler = Auto | TPE | GP | CMAES | NSGA2 | NSGA3 | QMC | Grid | RandomSearch
