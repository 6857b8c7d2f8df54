"""What is to be searched, and how: a search file as the rest of the search needs it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from metasearch import space
from metasearch.errors import ConfigError
from metasearch.observe.base import Bound, SearchInfo, Watched
from metasearch.registry import to_data
from metasearch.rng import Stream
from metasearch.search.advice import Advice
from metasearch.search.advisors import Auto, Sampler
from metasearch.search.conductor import Fill
from metasearch.search.config import SearchConfig, SearchFile
from metasearch.search.first import REFERENCE, Point, first_points
from metasearch.search.fit import Job, breeds
from metasearch.search.pace import Pace
from metasearch.search.racing import Racing
from metasearch.search.share import RECIPES
from metasearch.search.stopping import Dominated, NoPruner, Pruner


@dataclass(frozen=True)
class Plan:
    """What is to be searched, and how."""

    search: SearchConfig
    space: Mapping[str, Any]  # the tree of a trial, with its draws
    score: str  # the name of the score trials are ranked by
    unit: str
    direction: Literal["minimize", "maximize"]
    reports: int  # of a trial that runs to its end
    watched: Sequence[Watched] = ()
    fill: Fill = dict  # writes the defaults into a resolved tree
    first: Callable[[], Sequence[Point]] = tuple  # what is tried first
    races: bool = False  # whether trials can be compared task by task; decides `race: auto`
    plugins: Mapping[str, str] = field(default_factory=dict)  # room/name -> where it comes from

    @staticmethod
    def of(file: SearchFile) -> Plan:
        """The plan in a search file."""
        from metasearch.trial.rooms import plugins_in

        some = file.trial(next(space.covering(file.space)).tree)
        return Plan(
            search=file.search,
            space=file.space,
            score=some.score.name,
            unit=some.score.unit,
            direction=some.score.direction,
            reports=some.budget.reports,
            watched=tuple(
                Watched(s.name, s.unit, s.direction, s.asks == "likelihood") for s in some.also
            ),
            fill=lambda tree: to_data(file.trial(tree)),
            first=lambda: first_points(file),
            races=not (some.score.together or file.search.objectives),
            plugins=plugins_in(file.space),
        )

    def info(self, folder: Path) -> SearchInfo:
        """As observers and readers see it."""
        return SearchInfo(
            name=self.search.name,
            folder=folder,
            trials=self.search.trials,
            time_s=self.search.time_s,
            score=self.score,
            unit=self.unit,
            direction=self.direction,
            draws=space.draws(self.space),
            watched=self.watched,
            objectives=self.search.objectives,
            bounds=self.bounds,
            gradients=self.search.gradients,
            gpu_hours=self.search.gpu_hours,
            gpus=0.0 if self.search.gpus_per_trial == "auto" else self.search.gpus_per_trial,
        )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """What a trial has to keep."""
        return tuple(Bound(c.score, c.at_least, c.at_most) for c in self.search.constraints)

    def greedy(self, count: int = RECIPES) -> list[Mapping[str, Any]]:
        """Some recipes that take as much memory as any: every number at its upper bound."""
        trees: dict[str, Mapping[str, Any]] = {}
        for i in range(count):
            draw = space.upper_suggester(Stream(self.search.seed).at("greedy", i))
            tree = space.sample(self.space, draw)
            with contextlib.suppress(ConfigError):  # what cannot be run takes no memory
                trees.setdefault(space.dump(tree), self.fill(tree))
        return list(trees.values())

    def sized(self, gpus: float) -> Plan:
        """The same with what `gpus_per_trial: auto` was found to stand for."""
        return replace(self, search=replace(self.search, gpus_per_trial=gpus))

    def job(self) -> Job:
        """As samplers are picked for."""
        return Job.of(self.space, self.search.trials, 1 + len(self.search.objectives))

    def advice(self, sampler: Sampler, first: Sequence[Point] = ()) -> Advice:
        """As the study needs it, with what `auto` stands for, and what is tried first."""
        search = self.search
        return Advice(
            name=search.name,
            direction=self.direction,
            seed=search.seed,
            sampler=sampler,
            pruner=self._pruner(),
            reports=self.reports,
            first=tuple(point.params for point in first),
            seeds=tuple(point.seed for point in first),
            spared=frozenset(n for n, point in enumerate(first) if point.origin == REFERENCE),
            repeats=search.repeats,
            repeated_from=search.trials - (search.repeats.trials if search.repeats else 0),
            also=tuple(
                (w.name, w.direction)
                for name in search.objectives
                for w in self.watched
                if w.name == name
            ),
            bounds=self.bounds,
        )

    def pace(self, spared: Container[int] = ()) -> Pace | None:
        """What trials race against, but for those spared; None if they do not.

        At most a third of all trials start together.
        """
        sign, racing = (1.0 if self.direction == "minimize" else -1.0), self.search.race
        if racing == "auto":
            racing = Racing() if self.races and not breeds(self.search.sampler) else None
        if racing is None:
            return None
        starters = min(racing.starters, max(1, self.search.trials // 3))
        return Pace(replace(racing, starters=starters), sign, self.reports, spared)

    def _pruner(self) -> Pruner:
        """What is chosen, and for `auto` what goes with a race or with several objectives."""
        pruner = self.search.pruner
        if not isinstance(pruner, Auto):
            return pruner
        if self.search.objectives:
            return Dominated()
        return NoPruner() if self.pace() else pruner

    def tree(self) -> dict[str, Any]:
        """As it stands in search.yaml: a search file again."""
        return {"search": to_data(self.search), "trial": to_data(self.space)}
