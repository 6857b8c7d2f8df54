"""Pruners as plain data: what says which trial to stop.

`search/pruners.py` turns them into Optuna's objects; `Dominated`, which looks at several objectives
at once, is `search/dominance.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from metasearch.registry import OneOf, Table, at_least, component
from metasearch.search.advisors import Auto


@component
class NoPruner:
    """Every trial runs to its end."""

    name: Literal["none"] = "none"


@component
class Median:
    """Stop a trial that is worse than half of the finished ones were at the same report."""

    name: Literal["median"] = "median"
    startup_trials: int = 5  # trials that must have finished before any is stopped
    least_trials: int = 1  # that finished and made the same report, before any is stopped at it
    warmup: int = 1  # a trial's first reports, at which it is not stopped
    every: int = 1  # it may be stopped at each so many reports from then on

    def __post_init__(self) -> None:
        at_least(self, startup_trials=0, least_trials=1, warmup=0, every=1)


@component
class Percentile:
    """Stop a trial that is not among the best so many percent at the same report."""

    name: Literal["percentile"] = "percentile"
    keep: float = 25.0  # percent that go on
    startup_trials: int = 5  # trials that must have finished before any is stopped
    least_trials: int = 1  # that finished and made the same report, before any is stopped at it
    warmup: int = 1  # a trial's first reports, at which it is not stopped
    every: int = 1  # it may be stopped at each so many reports from then on

    def __post_init__(self) -> None:
        at_least(self, startup_trials=0, least_trials=1, warmup=0, every=1)
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
    startup_trials: int = 0  # the first so many at a rung stop there, whatever they score

    def __post_init__(self) -> None:
        at_least(self, startup_trials=0)
        _rungs(self.first_rung, self.reduction)


@component
class Hyperband:
    """Successive halving with several first rungs at once; needs some 200 trials to pay.

    Source: Li et al., "Hyperband", JMLR 18(185), 2018, Algorithm 1, asynchronous as in Optuna.
    """

    name: Literal["hyperband"] = "hyperband"
    first_rung: int = 1  # in reports
    reduction: int = 3
    startup_trials: int = 0  # the first so many at a rung stop there, whatever they score

    def __post_init__(self) -> None:
        at_least(self, startup_trials=0)
        _rungs(self.first_rung, self.reduction)


@component
class Threshold:
    """Stop a trial whose score leaves the bounds, whatever the others do."""

    name: Literal["threshold"] = "threshold"
    lower: float | None = None
    upper: float | None = None
    warmup: int = 0  # a trial's first reports, at which it is not stopped
    every: int = 1  # it may be stopped at each so many reports from then on

    def __post_init__(self) -> None:
        at_least(self, warmup=0, every=1)
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


@component
class Dominated:
    """Where several objectives count: stop a trial that others beat in all of them at once.

    It is stopped at a report if at least a share of the trials that came so far were as good in
    each objective there and better in one; trials that break a bound beat nobody.

    Source: Schmucker et al., "Multi-objective Asynchronous Successive Halving", arXiv:2106.12639,
    2021. Differs: trials are compared at every report by how many beat them, in place of ranks of
    fronts at rungs; whom nobody beats is never stopped.
    """

    name: Literal["dominated"] = "dominated"
    share: float = 0.25  # of the trials that made the same report, which have to beat one
    startup_trials: int = 5  # trials that must have made a report before any is stopped at it
    warmup: int = 1  # a trial's first reports, at which it is not stopped

    def __post_init__(self) -> None:
        at_least(self, startup_trials=1, warmup=0)
        if not 0 < self.share < 1:
            raise ValueError("share must lie between 0 and 1")


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
        if isinstance(self.inner, Auto | NoPruner | Patient | Dominated):
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
        "dominated": Dominated,
    },
)

Pruner = (
    Auto | NoPruner | Median | Percentile | SuccessiveHalving | Hyperband | Threshold | Patient
    | Wilcoxon | Dominated
)  # fmt: skip


def compares(pruner: Pruner) -> bool:
    """Whether a pruner was named that stops a trial for what others reported."""
    if isinstance(pruner, Patient):
        return pruner.inner is not None and compares(pruner.inner)
    return not isinstance(pruner, Auto | NoPruner | Threshold)


def _rungs(first_rung: int, reduction: int) -> None:
    if first_rung < 1:
        raise ValueError("first_rung must be at least 1")
    if reduction < 2:
        raise ValueError("reduction must be at least 2")
