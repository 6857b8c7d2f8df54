"""Optuna's pruners for ours."""

from __future__ import annotations

import warnings

import optuna

from metasearch.search import advisors
from metasearch.search.advisors import Pruner


def make_pruner(pruner: Pruner, reports: int) -> optuna.pruners.BasePruner:
    """Optuna's pruner for ours; a step is a report, and a whole trial has `reports` of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _make(pruner, reports)


def _make(pruner: Pruner, reports: int) -> optuna.pruners.BasePruner:
    kinds = optuna.pruners
    made: optuna.pruners.BasePruner
    match pruner:
        case advisors.Auto():
            made = _make(advisors.Median(), reports)
        case advisors.NoPruner():
            made = kinds.NopPruner()
        case advisors.Median(startup_trials=startup, warmup=warmup):
            made = kinds.MedianPruner(startup, warmup + 1)  # earlier steps are not pruned
        case advisors.Percentile(keep=keep, startup_trials=startup, warmup=warmup):
            made = kinds.PercentilePruner(keep, startup, warmup + 1)
        case advisors.SuccessiveHalving(first_rung=first, reduction=reduction):
            made = kinds.SuccessiveHalvingPruner(first, reduction)
        case advisors.Hyperband(first_rung=first, reduction=reduction):
            made = kinds.HyperbandPruner(first, reports, reduction)
        case advisors.Threshold(lower=lower, upper=upper, warmup=warmup):
            made = kinds.ThresholdPruner(lower, upper, warmup + 1)
        case advisors.Patient(patience=patience, margin=margin, inner=inner):
            asked = _make(inner, reports) if inner else None
            made = kinds.PatientPruner(asked, patience, margin)
        case advisors.Wilcoxon(p=p, startup_reports=startup):
            made = kinds.WilcoxonPruner(p_threshold=p, n_startup_steps=startup)
    return made
