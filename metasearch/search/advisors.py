"""What advises a search, as plain data: samplers say what to try, pruners what to stop.

Only `search/study.py` turns them into Optuna's objects.
"""

from __future__ import annotations

from typing import Literal

from metasearch.registry import Table, component


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


SAMPLERS = Table("sampler", {"tpe": TPE, "random": RandomSearch})


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
        _not_negative(self.startup_trials, self.warmup)


@component
class Percentile:
    """Stop a trial that is not among the best so many percent at the same report."""

    name: Literal["percentile"] = "percentile"
    keep: float = 25.0  # percent that go on
    startup_trials: int = 5  # trials that must have finished before any is stopped
    warmup: int = 1  # a trial's first reports, at which it is not stopped

    def __post_init__(self) -> None:
        _not_negative(self.startup_trials, self.warmup)
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
        _not_negative(0, self.warmup)
        if self.lower is None and self.upper is None:
            raise ValueError("a threshold needs a bound: set `lower`, `upper` or both")


@component
class Patient:
    """Stop a trial whose own score has not improved for a while."""

    name: Literal["patient"] = "patient"
    patience: int = 2  # reports without an improvement
    margin: float = 0.0  # by which the score must improve to count

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError("patience must be at least 1")
        if self.margin < 0:
            raise ValueError("margin must not be negative")


PRUNERS = Table(
    "pruner",
    {
        "none": NoPruner,
        "median": Median,
        "percentile": Percentile,
        "successive_halving": SuccessiveHalving,
        "hyperband": Hyperband,
        "threshold": Threshold,
        "patient": Patient,
    },
)

Sampler = TPE | RandomSearch
Pruner = NoPruner | Median | Percentile | SuccessiveHalving | Hyperband | Threshold | Patient


def _not_negative(startup_trials: int, warmup: int) -> None:
    if startup_trials < 0:
        raise ValueError("startup_trials must not be negative")
    if warmup < 0:
        raise ValueError("warmup must not be negative")


def _rungs(first_rung: int, reduction: int) -> None:
    if first_rung < 1:
        raise ValueError("first_rung must be at least 1")
    if reduction < 2:
        raise ValueError("reduction must be at least 2")
