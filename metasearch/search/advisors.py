"""What advises a search, as plain data: samplers say what to try, pruners what to stop.

`search/samplers.py` and `search/pruners.py` turn them into Optuna's objects, `search/points.py`
asks those of the samplers that need none.
"""

from __future__ import annotations

from typing import Annotated, Literal

from metasearch.registry import OneOf, Table, at_least, component


@component
class TPE:
    """Tree-structured Parzen estimator: draw near what did well, away from what did badly.

    Source: Watanabe, "Tree-Structured Parzen Estimator", arXiv:2304.11127, 2023, as Optuna builds
    it; multivariate, grouped by branch, and with a constant liar for trials that still run.
    """

    name: Literal["tpe"] = "tpe"
    startup_trials: int = 10  # drawn at random before the estimate is trusted
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
    """A Gaussian process with Matern kernel and log expected improvement, as Optuna builds it.

    For few, dear trials: a suggestion takes most of a second at a hundred trials. It knows no
    branches: in a space with some, it is refused.

    Source: Ament et al., "Unexpected Improvements to Expected Improvement", NeurIPS 2023.
    """

    name: Literal["gp"] = "gp"
    startup_trials: int = 10  # drawn at random before the process is fitted

    def __post_init__(self) -> None:
        at_least(self, startup_trials=1)


@component
class CMAES:
    """Evolve a normal distribution over numbers: for flat spaces of numbers, and many trials.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772, as the package
    `cmaes` has it. Differs: a generation is the next so many trials that ended, by number; stopped
    trials rank behind finished ones, and among themselves by how far they came.
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
    is `median` where trials do not race, and none where they do: who a race sets aside may go on.
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


@component
class NoPruner:
    """Every trial runs to its end."""

    name: Literal["none"] = "none"


@component
class Median:
    """Stop a trial that is worse than half of the finished ones were at the same report."""

    name: Literal["median"] = "median"
    startup_trials: int = 5  # trials that must have finished before any is stopped
    warmup: int = 1  # a trial's first reports, at which it is not stopped

    def __post_init__(self) -> None:
        at_least(self, startup_trials=0, warmup=0)


@component
class Percentile:
    """Stop a trial that is not among the best so many percent at the same report."""

    name: Literal["percentile"] = "percentile"
    keep: float = 25.0  # percent that go on
    startup_trials: int = 5  # trials that must have finished before any is stopped
    warmup: int = 1  # a trial's first reports, at which it is not stopped

    def __post_init__(self) -> None:
        at_least(self, startup_trials=0, warmup=0)
        if not 0 < self.keep < 100:
            raise ValueError("keep must lie between 0 and 100")


@component
class SuccessiveHalving:
    """Let one in `reduction` trials pass each rung; rungs lie at `reduction` times the one before.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020,
    Algorithm 2 (ASHA). Differs, as Optuna does: a trial that is not promoted stops for good.
    """

    name: Literal["successive_halving"] = "successive_halving"
    first_rung: int = 1  # in reports
    reduction: int = 3

    def __post_init__(self) -> None:
        _rungs(self.first_rung, self.reduction)


@component
class Hyperband:
    """Successive halving with several first rungs at once; needs some 200 trials to pay.

    Source: Li et al., "Hyperband", JMLR 18(185), 2018, Algorithm 1, asynchronous as in Optuna.
    """

    name: Literal["hyperband"] = "hyperband"
    first_rung: int = 1  # in reports
    reduction: int = 3

    def __post_init__(self) -> None:
        _rungs(self.first_rung, self.reduction)


@component
class Threshold:
    """Stop a trial whose score leaves the bounds, whatever the others do."""

    name: Literal["threshold"] = "threshold"
    lower: float | None = None
    upper: float | None = None
    warmup: int = 0  # a trial's first reports, at which it is not stopped

    def __post_init__(self) -> None:
        at_least(self, warmup=0)
        if self.lower is None and self.upper is None:
            raise ValueError("a threshold needs a bound: set `lower`, `upper` or both")


@component
class Wilcoxon:
    """Stop a trial that is worse than the best, report by report, by Wilcoxon's signed-rank test.

    Reports of one curve are no independent sample, so `p` is a knob and no promise. `search.race`
    has the test that keeps its level, over tasks.
    """

    name: Literal["wilcoxon"] = "wilcoxon"
    p: float = 0.1  # below which a trial is stopped
    startup_reports: int = 2  # a trial's first reports, at which it is not stopped

    def __post_init__(self) -> None:
        at_least(self, startup_reports=0)
        if not 0 < self.p < 1:
            raise ValueError("p must lie between 0 and 1")


def _every_pruner() -> Table:
    return PRUNERS


@component
class Patient:
    """Stop a trial whose own score has not improved for a while; or ask another pruner then."""

    name: Literal["patient"] = "patient"
    patience: int = 2  # reports without an improvement
    margin: float = 0.0  # by which the score must improve to count
    inner: Annotated[Pruner, OneOf(_every_pruner)] | None = None  # decides once patience is out

    def __post_init__(self) -> None:
        if isinstance(self.inner, Auto | NoPruner | Patient):
            raise ValueError(f"inner must be a pruner that compares, not {self.inner.name!r}")
        at_least(self, patience=1, margin=0)


PRUNERS = Table(
    "pruner",
    {
        "auto": Auto,
        "none": NoPruner,
        "median": Median,
        "percentile": Percentile,
        "successive_halving": SuccessiveHalving,
        "hyperband": Hyperband,
        "threshold": Threshold,
        "patient": Patient,
        "wilcoxon": Wilcoxon,
    },
)

Sampler = Auto | TPE | GP | CMAES | NSGA2 | NSGA3 | QMC | Grid | RandomSearch
Pruner = (
    Auto | NoPruner | Median | Percentile | SuccessiveHalving | Hyperband | Threshold | Patient
    | Wilcoxon
)  # fmt: skip


def _rungs(first_rung: int, reduction: int) -> None:
    if first_rung < 1:
        raise ValueError("first_rung must be at least 1")
    if reduction < 2:
        raise ValueError("reduction must be at least 2")
