"""Optuna's pruners for ours."""

from __future__ import annotations

import warnings

import optuna

from metasearch.search import stopping
from metasearch.search.advisors import Auto
from metasearch.search.stopping import Pruner


def make_pruner(pruner: Pruner, reports: int) -> optuna.pruners.BasePruner:
    """Optuna's pruner for ours; a step is a report, and a whole trial has `reports` of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _make(pruner, reports)


def _make(pruner: Pruner, reports: int) -> optuna.pruners.BasePruner:
    kinds = optuna.pruners
    made: optuna.pruners.BasePruner
    match pruner:
        case Auto():
            made = _make(stopping.Median(), reports)
        case stopping.NoPruner() | stopping.Dominated():
            made = kinds.NopPruner()
        case stopping.Median(startup_trials=startup, warmup=warmup, every=every):
            least = pruner.least_trials  # and: earlier steps than `warmup + 1` are not pruned
            made = kinds.MedianPruner(startup, warmup + 1, every, n_min_trials=least)
        case stopping.Percentile(startup_trials=startup, warmup=warmup, every=every):
            least, keep = pruner.least_trials, pruner.keep
            made = kinds.PercentilePruner(keep, startup, warmup + 1, every, n_min_trials=least)
        case stopping.SuccessiveHalving(first_rung=first, reduction=reduction):
            made = kinds.SuccessiveHalvingPruner(first, reduction, 0, pruner.startup_trials)
        case stopping.Hyperband(first_rung=first, reduction=reduction):
            made = kinds.HyperbandPruner(first, reports, reduction, pruner.startup_trials)
        case stopping.Threshold(lower=lower, upper=upper, warmup=warmup):
            made = kinds.ThresholdPruner(lower, upper, warmup + 1, pruner.every)
        case stopping.Patient(patience=patience, margin=margin, inner=inner):
            asked = _make(inner, reports) if inner else None
            made = kinds.PatientPruner(asked, patience, margin)
        case stopping.Wilcoxon(p=p, startup_reports=startup):
            made = kinds.WilcoxonPruner(p_threshold=p, n_startup_steps=startup)
    return made
