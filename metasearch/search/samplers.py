"""Optuna's samplers for ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial

from metasearch.search.advisors import GP, NSGA2, NSGA3, TPE, Sampler

_KINDS = {"nsga2": optuna.samplers.NSGAIISampler, "nsga3": optuna.samplers.NSGAIIISampler}

Elite = Callable[[optuna.Study, list[FrozenTrial]], list[FrozenTrial]]


def make_sampler(sampler: Sampler, seed: int, root: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for one suggestion, so that none carries a state to the next.

    Args:
        sampler: what `points.Points` does not suggest itself.
        seed: of this suggestion alone.
        root: of the whole search, for what is decided once in a generation.
    """
    with warnings.catch_warnings():  # what is experimental is pinned, and covered by our tests
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _make(sampler, seed, root)


def _make(sampler: Sampler, seed: int, root: int) -> optuna.samplers.BaseSampler:
    kinds = optuna.samplers
    match sampler:
        case TPE():
            return kinds.TPESampler(
                seed=seed,
                n_startup_trials=sampler.startup_trials,
                n_ei_candidates=sampler.candidates,
                multivariate=True,
                group=True,
                constant_liar=True,
            )
        case GP():
            return kinds.GPSampler(seed=seed, n_startup_trials=sampler.startup_trials)
        case NSGA2() | NSGA3():
            return _KINDS[sampler.name](
                seed=seed,
                population_size=sampler.population,
                elite_population_selection_strategy=_elite(sampler, root),
            )
    return kinds.RandomSampler(seed=seed)


def _elite(sampler: NSGA2 | NSGA3, root: int) -> Elite:
    """The choice of parents, alike whenever it is made again.

    Optuna makes it once in a generation, and keeps it in the study. Ours is rebuilt, so what is
    drawn (by NSGA-III) and the order of the chosen must not depend on when they are chosen.
    """

    def choose(study: optuna.Study, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            afresh = _KINDS[sampler.name](seed=root, population_size=sampler.population)
        chosen = afresh._elite_population_selection_strategy(study, trials)
        return sorted(chosen, key=lambda trial: trial.number)

    return choose
