"""One trial: an iterator of reports. A function of (config, seed, code, data)."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from metasearch.algorithms.base import MetaGradient
from metasearch.errors import ConfigError
from metasearch.interval import mean_interval
from metasearch.scores.base import Features
from metasearch.scores.features import cached_features
from metasearch.tasks.base import DERIVED, TaskDistribution, TaskSource
from metasearch.trial.anchors import ends_of_scale
from metasearch.trial.checkpoint import Frozen
from metasearch.trial.chosen import story
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import BrokenOff, Panel, Verdicts, judge, settle
from metasearch.trial.population import Champion, one_learner
from metasearch.trial.practice import Practice
from metasearch.trial.precision import multiplying, pick_device
from metasearch.trial.report import Cost, Halt, Report

PATIENCE = 50  # meta-steps in a row without one finite task, after which a trial has diverged


Race = Callable[[int, Mapping[str, float], int], Halt | None]
"""Takes the rung, its scores by task so far, and how often it is asked at a rung.

Says why the trial is clearly worse than it has to be, or need not be judged further for now.
"""

Hurry = Callable[[], bool]
"""Asked after each meta-step: is what there is to be kept, as if this were the last moment?"""


@dataclass(frozen=True)
class Bench:
    """What trials on the same data share: the opened source, and the frozen features."""

    data: TaskDistribution
    features: Features | None
    known: dict[Any, Any] = field(default_factory=dict, compare=False)
    """The floors and ends of a scale that were found, which are the same for all trials."""


@lru_cache(maxsize=2)
def open_bench(source: TaskSource, needs_features: bool) -> Bench:  # noqa: FBT001 - a cache key
    """Open a source and learn, or find, its features; kept for the next trial of this process.

    Raises:
        DataError: the source is missing, damaged or too small.
    """
    data = source.open()
    return Bench(data, cached_features(data, seed=0) if needs_features else None)


def bench_for(config: TrialConfig) -> Bench:
    """The bench a trial needs.

    Raises:
        DataError: the source is missing, damaged or too small.
    """
    needed = any(s.needs_features for s in (config.score, *config.also))
    return open_bench(config.tasks, needed)  # type: ignore[arg-type]  # a frozen dataclass


def run_trial(
    config: TrialConfig,
    *,
    resume: Path | None = None,
    bench: Bench | None = None,
    race: Race | None = None,
) -> Iterator[Report]:
    """Meta-train under the config and report on unseen tasks, `budget.reports` times.

    Continued from a snapshot, the reports that follow are those of the uninterrupted trial. A race
    changes no report but those in which a judgement is broken off; they say so, and when it is
    lost, the trial ends with one.

    Raises:
        ConfigError: the families do not fit the source.
        DataError: the source is missing, damaged or too small.
        RunError: the snapshot, or what the config starts from, cannot be read.
    """
    trial = Trial.begin(config, bench or bench_for(config), resume, race)
    while not trial.finished:
        yield trial.advance()


@dataclass
class Trial:
    """A trial under way."""

    config: TrialConfig
    bench: Bench
    device: str
    practice: Practice
    panel: Panel
    meta_steps: int = 0
    gradients: int = 0
    rung: int = 0
    seconds: float = 0.0
    barren: int = 0  # meta-steps in a row without a finite task
    finished: bool = False
    race: Race | None = None
    tally: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @staticmethod
    def open(config: TrialConfig, bench: Bench) -> Trial:
        """A trial at its beginning, with weights of its own.

        Raises:
            ConfigError: the families do not fit the source.
        """
        device = pick_device(config.device)
        data = bench.data
        for i, family in enumerate(config.models):
            if not set(family.domains) <= {*data.domains, *DERIVED}:
                raise ConfigError(
                    f"trial.models[{i}]: {family.name} needs domains {family.domains}, but "
                    f"{config.tasks.name} gives {data.domains}. Use another task source."
                )
        practice = Practice.open(config, data, bench.features, device)
        panel = Panel.gather(config, data, bench.features, "search", device)
        return Trial(config, bench, device, practice, panel)

    @staticmethod
    def begin(config: TrialConfig, bench: Bench, resume: Path | None, race: Race | None) -> Trial:
        """A trial where a snapshot was taken, or with the weights that its config starts from.

        Raises:
            ConfigError: the families do not fit the source.
            RunError: what it begins from cannot be read.
        """
        trial = Trial.open(config, bench)
        trial.race = race
        if resume is not None:
            trial.restore(Frozen.load(resume, trial.device))
        elif config.start is not None:
            config.start.give([m.learner for m in trial.practice.population.members], trial.device)
        return trial

    def advance(self) -> Report:
        """Train up to the next rung and report there."""
        self.train()
        return self.report()

    def train(self, hurry: Hurry = lambda: False) -> bool:
        """Train up to the next rung, or until there is `hurry`: then False."""
        began = time.monotonic()
        enough, hurried = self._goal(self.rung + 1) - self.practice.reserve(), False
        while self._trains and self.gradients < enough and self.barren < PATIENCE and not hurried:
            self.meta_step()
            hurried = hurry()
        self.seconds += time.monotonic() - began
        return not hurried

    @property
    def _trains(self) -> bool:
        return any(a.trains for a in self.config.algorithms)

    def _goal(self, rung: int) -> int:
        """Gradient evaluations at a rung; the last is the whole budget."""
        return self.config.budget.gradients * rung // self.config.budget.reports

    def report(self) -> Report:
        """Evaluate at the rung that was trained for."""
        began = time.monotonic()
        self.rung += 1
        budget, diverged = self.config.budget, self.barren >= PATIENCE
        self.finished = diverged or not self._trains or self.rung >= budget.reports
        step = budget.gradients if self.finished and not diverged else self._goal(self.rung)
        return self._report(step, began, diverged=diverged)

    def meta_step(self) -> None:
        """One meta-batch."""
        with multiplying(self.config.precision, self.device):
            played = self.practice.step(self.meta_steps, self._done)
        self.meta_steps += 1
        self.gradients += played.gradients
        self.barren = 0 if bool(played.first.finite.any()) else self.barren + 1
        self._count(played.first)

    @property
    def _done(self) -> float:
        """The spent share of the budget."""
        return min(self.gradients / self.config.budget.gradients, 1.0)

    def _count(self, found: MetaGradient) -> None:
        self.tally["tasks/non_finite"].append(float((~found.finite).sum()))
        for player, losses in found.losses.items():
            kept = losses[found.finite]
            if len(kept):
                self.tally[f"loss/{player}"].append(float(kept.mean()))

    def _report(self, step: int, began: float, *, diverged: bool) -> Report:
        config = self.config
        if self.finished:
            self.gradients += self.practice.close(self.meta_steps)
        champion, cost = self.practice.crown()
        self.gradients += cost
        try:
            with multiplying("float32", self.device):  # what ranks is the same whatever trained it
                race = self._race_at(step)
                verdicts = judge(champion.adapter, config.engine, self.panel, race)
        except BrokenOff as broken:
            self.finished = bool(broken.halt.lost)
            self.tally.clear()
            self.seconds += time.monotonic() - began
            left = None if self.finished else self.freeze()
            return Report.broken_off(step, self._cost, broken.halt, broken.seen, left)
        worst_is_high = config.score.direction == "minimize"
        after = settle(verdicts.after[config.score.name], worst_is_high=worst_is_high)
        if diverged:
            after = np.full_like(after, np.nan)
        mean, low, high = mean_interval(after)
        self.seconds += time.monotonic() - began
        return Report(
            step=step,
            final=self.finished,
            cost=self._cost,
            score=mean,
            low=low,
            high=high,
            before=float(np.nanmean(verdicts.before[config.score.name])),
            per_task=dict(zip(self.panel.tasks, map(float, after), strict=True)),
            scalars=self._scalars(verdicts, champion),
            samples=verdicts.grid,
            snapshot=self.freeze(),
        )

    @property
    def _cost(self) -> Cost:
        return Cost(self.gradients, self.meta_steps, self.seconds)

    def _race_at(self, step: int) -> Callable[[Mapping[str, float], int], Halt | None] | None:
        if (race := self.race) is None:
            return None

        def ask(seen: Mapping[str, float], looks: int) -> Halt | None:
            halt = race(step, seen, looks)
            return None if halt and halt.behind and self.finished else halt

        return ask

    def _scalars(self, verdicts: Verdicts, champion: Champion) -> dict[str, float]:
        tally, self.tally = self.tally, defaultdict(list)
        scalars = {
            name: float(np.sum(v) if name.startswith("tasks/") else np.mean(v))
            for name, v in tally.items()
        }
        for name, values in verdicts.after.items():
            if name != self.config.score.name:
                scalars[f"score/{name}"] = mean_interval(values).mean
        scalars["tasks/diverged"] = float(verdicts.diverged)
        ends = ends_of_scale(self.config, self.bench, one_learner(champion), verdicts.domain)
        groups = [name.rsplit("/", 1)[0] for name in self.practice.names]
        return scalars | ends | story(self.config, self.practice.population, groups)

    def freeze(self) -> Frozen:
        """All that continuing needs, copied."""
        tensors, chosen = self.practice.freeze()
        counters = {
            "meta_steps": self.meta_steps,
            "gradients": self.gradients,
            "rung": self.rung,
            "seconds": self.seconds,
            "barren": self.barren,
            "finished": self.finished,
            "tally": {name: list(values) for name, values in self.tally.items()},
        }
        return Frozen(tensors, {**counters, "chosen": chosen})

    def restore(self, frozen: Frozen) -> None:
        """Go back to a moment that `freeze` caught."""
        state = dict(frozen.state)
        self.practice.restore(frozen.tensors, state.pop("chosen"))
        self.tally = defaultdict(list, state.pop("tally", {}))
        for name, value in state.items():
            setattr(self, name, value)


def champion_at(config: TrialConfig, checkpoint: Path, bench: Bench) -> Champion:
    """The model and algorithm a checkpoint stands for.

    Raises:
        RunError: the checkpoint cannot be read.
    """
    return Trial.begin(config, bench, checkpoint, None).practice.population.champion()
