"""Optuna's samplers for ours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from metasearch import space
from metasearch.rng import Stream
from metasearch.search.advisors import GP, NSGA2, NSGA3, TPE, Sampler
from metasearch.search.journal import generation_of
from metasearch.search.points import Points

_KINDS = {"nsga2": optuna.samplers.NSGAIISampler, "nsga3": optuna.samplers.NSGAIIISampler}

_STARTUP = 10  # trials that finish before a process is fitted to several objectives
AGAIN = 8  # times a sampler is asked again for a recipe that was not tried
OTHERS = 200  # recipes drawn at random in search of such a one

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
        case GP():  # of several objectives; of one, see `outlook`
            return kinds.GPSampler(seed=seed, n_startup_trials=sampler.startup_trials or _STARTUP)
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


class Parents:
    """Chooses anew whom generations are bred from, as it was done when they began.

    Exactly so if one trial runs at a time; else who had ended when a generation began is not known,
    and all with a smaller number count. One after another, for each choice looks at the last one
    and at the generation that followed.
    """

    def __init__(self, sampler: Sampler, study: optuna.Study, root: int) -> None:
        """Of a study that is rebuilt; `root` as for `make_sampler`."""
        breeds = isinstance(sampler, NSGA2 | NSGA3)
        self._sampler = make_sampler(sampler, root, root) if breeds else None
        self._study = study
        self._last = 0  # the first generation is not bred

    def choose(self, trial: FrozenTrial) -> None:
        """Before a trial is told, by number: those of its generation, if it is the first of it."""
        generation = generation_of(trial.system_attrs) or 0
        if self._sampler and generation > self._last:
            self._last = generation
            storage, name = self._study._storage, self._study.study_name
            study = optuna.load_study(study_name=name, storage=storage)  # which has read nothing
            self._sampler.get_parent_population(study, generation)


class Tried:
    """The recipes of a search that were asked for, and others."""

    def __init__(self, points: Points, params: Iterable[Mapping[str, Any]]) -> None:
        """Begin with what an earlier sitting asked for."""
        self._points = points
        self._known = {_key(one) for one in params}
        self._all = space.size(points.tree).configurations or math.inf
        self._listed: Iterator[dict[str, Any]] | None = None

    def add(self, params: Mapping[str, Any]) -> None:
        """One more was."""
        self._known.add(_key(params))

    def __contains__(self, params: Mapping[str, Any]) -> bool:
        """Whether values of draws make a recipe that was; not if they leave one open.

        Where nothing is left to be tried, nothing counts.
        """
        if len(self._known) >= self._all:
            return False
        found = space.used(self._points.tree, params)
        return found is not None and _key(found) in self._known

    def following(self) -> dict[str, Any] | None:
        """Of all recipes in the order of `Points.shuffled` the first that was not; None at the end.

        Whoever is passed by was tried, so nobody is looked at twice.
        """
        self._listed = self._listed or self._points.shuffled()
        return next((params for params in self._listed if params not in self), None)

    def other(self, stream: Stream) -> dict[str, Any] | None:
        """A recipe at random that was not; None if hardly one is left."""
        drawn = (self._points.anywhere(stream.at(i)) for i in range(OTHERS))
        return next((params for params in drawn if params not in self), None)


def _key(params: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset(params.items())


class Fresh(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """Asks a sampler again as long as all it says was tried before.

    A trial is a function of its recipe, so the same once more would tell nothing. In the end some
    other recipe is taken at random, if one is found.
    """

    def __init__(
        self,
        make: Callable[[int], optuna.samplers.BaseSampler],
        tried: Tried,
        stream: Stream,
    ) -> None:
        """Asks `make(0)`, then `make(1)` and so on."""
        self._make = make
        self._first = make(0)
        self._tried = tried
        self._stream = stream

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, Any]:
        """As the sampler's."""
        return dict(self._first.infer_relative_search_space(study, trial))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]
    ) -> dict[str, Any]:
        """The first suggestion that is new."""
        said = self._first.sample_relative(study, trial, search_space)
        for time in range(1, AGAIN + 1):
            if said not in self._tried:
                return dict(said)
            sampler = self._make(time)
            within = sampler.infer_relative_search_space(study, trial)
            said = sampler.sample_relative(study, trial, within)
        found = self._tried.other(self._stream) if said in self._tried else None
        return {name: value for name, value in (found or said).items() if name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        """As the sampler's."""
        return self._first.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the sampler's."""
        self._first.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: Any, values: Any) -> None:
        """As the sampler's."""
        self._first.after_trial(study, trial, state, values)
