"""Searches over recorded trials: what is asked, stopped and found, and what it would have cost."""

from __future__ import annotations

import heapq
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.search.record import HERE, recipes
from metasearch.observe.base import Outcome
from metasearch.search.advisors import Pruner, Sampler
from metasearch.search.racing import Bar, Pace, Racing
from metasearch.search.study import Advice, Study
from metasearch.space import Draw
from metasearch.trial.report import Cost, Report

LOTS = 3  # in which tasks are judged


@dataclass(frozen=True)
class Recorded:
    """What every recipe of the grid came to."""

    search: np.ndarray  # [recipes, rungs, tasks]; low is good
    confirm: np.ndarray  # [recipes, tasks]
    cpu_s: np.ndarray  # [recipes], of a whole trial with its judgements
    judging_s: np.ndarray  # [recipes], of one judgement, adapted and not

    grid: str

    @staticmethod
    def load(grid: str) -> Recorded:
        """The file beside this one."""
        with np.load(HERE / f"{grid}.npz") as file:
            arrays = {name: file[name].astype(np.float64) for name in file.files}
        return Recorded(**arrays, grid=grid)

    @cached_property
    def draws(self) -> list[Draw]:
        """What is searched."""
        return recipes(self.grid)[0].draws

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Values of the draws -> which recipe that is."""
        return {_key(params): i for i, params in enumerate(recipes(self.grid)[1])}

    @cached_property
    def confirmed(self) -> np.ndarray:
        """Mean confirmed score, [recipes]."""
        return self.confirm.mean(1)

    def number(self, params: dict[str, Any]) -> int:
        """Which recipe this is."""
        return self.numbers[_key(params)]

    @property
    def rungs(self) -> int:
        """Reports of a trial."""
        return int(self.search.shape[1])

    def seconds(self, recipe: int, share: float = 1.0) -> float:
        """Of one rung, if so large a share of its tasks is judged.

        Half of a judgement is without adaptation, and left out when a race is lost.
        """
        judging = self.judging_s[recipe]
        training = max(self.cpu_s[recipe] / self.rungs - judging, 0.0)
        return float(training + judging * (1.0 if share == 1.0 else share / 2))


class Player(Protocol):
    """A way to search, driven by hand."""

    def ask(self) -> tuple[Any, int]:
        """The next trial: a handle, and which recipe it is."""
        ...

    def report(self, trial: Any, rung: int, scores: np.ndarray) -> tuple[bool, float]:
        """Whether a trial stops at a rung (from 1), and which share of its tasks was judged."""
        ...

    def close(self) -> None:
        """The search is over."""
        ...


@dataclass(frozen=True)
class Moment:
    """What a search holds at some time."""

    seconds: float  # of CPU, over all slots
    recipe: int  # the best of those that ran to their end, by the search tasks


@dataclass(frozen=True)
class Played:
    """A search that was replayed."""

    moments: Sequence[Moment]
    judged: float  # judgements of all tasks, in parts of those that trials without stops would take
    whole: int  # trials that ran to their end
    seconds: float  # of CPU, of all trials

    @property
    def winner(self) -> int:
        """The recipe that led in the end."""
        return self.moments[-1].recipe


def play(
    player: Player,
    data: Recorded,
    *,
    trials: int = 10**6,
    seconds: float = math.inf,
    slots: int = 2,
) -> Played:
    """Replay a search on so many slots; a rung ends when its seconds have passed.

    No trial is asked once there were `trials`, or once all together spent `seconds` of CPU.
    """
    events: list[tuple[float, int, Any, int, int]] = []  # end of a rung: time, order, trial, ...
    asked = order = whole = 0
    spent = judged = 0.0
    moments: list[Moment] = []

    def begin(now: float) -> None:
        nonlocal asked, order
        if asked < trials and spent < seconds:
            asked, order = asked + 1, order + 1
            trial, recipe = player.ask()
            heapq.heappush(events, (now + data.seconds(recipe), order, trial, recipe, 1))

    for _ in range(slots):
        begin(0.0)
    while events:
        now, _, trial, recipe, rung = heapq.heappop(events)
        stops, share = player.report(trial, rung, data.search[recipe, rung - 1])
        spent += data.seconds(recipe, share)
        judged += share
        if stops or rung == data.rungs:
            if not stops:
                whole += 1
                leader = moments[-1].recipe if moments else recipe
                better = data.search[recipe, -1].mean() < data.search[leader, -1].mean()
                moments.append(Moment(spent, recipe if better else leader))
            begin(now)
        else:
            order += 1
            heapq.heappush(events, (now + data.seconds(recipe), order, trial, recipe, rung + 1))
    player.close()
    return Played(moments, judged / (asked * data.rungs), whole, spent)


class Ours:
    """Study and race as the desk uses them."""

    def __init__(
        self, data: Recorded, seed: int, sampler: Sampler, pruner: Pruner, race: Racing | None
    ) -> None:
        self._data = data
        advice = Advice("replay", "minimize", seed, sampler, pruner, data.rungs)
        with tempfile.TemporaryDirectory() as folder:  # nobody reads the journal
            self._study = Study(Path(folder) / "journal", recipes(data.grid)[0].space, advice)
        self._pace = Pace(race, 1.0, data.rungs) if race else None
        self._bars: dict[int, Bar | None] = {}
        self._reports: dict[int, list[Report]] = {}

    def ask(self) -> tuple[int, int]:
        """See `Player`."""
        asked = self._study.ask()
        self._bars[asked.number] = self._pace.bar() if self._pace else None
        self._reports[asked.number] = []
        return asked.number, self._data.number(dict(asked.params))

    def report(self, trial: int, rung: int, scores: np.ndarray) -> tuple[bool, float]:
        """See `Player`."""
        seen: dict[str, float] = {}
        bar = self._bars[trial]
        for lot in range(LOTS):
            seen |= {f"{i:03d}": float(scores[i]) for i in range(lot, len(scores), LOTS)}
            if bar and bar(rung, seen, LOTS):
                self._end(trial, Outcome("pruned", "race"))
                return True, len(seen) / len(scores) * (1 - 1e-9)
        final, score = rung == self._data.rungs, float(scores.mean())
        report = Report(rung, final, Cost(0, 0, 0.0), score, 0.0, 0.0, 0.0, seen, {})
        self._reports[trial].append(report)
        stops = self._study.report(trial, rung, score, judge=not final).stop
        if self._pace:
            self._pace.reported(str(trial), report)
            stops = stops or (not final and bool(self._pace.behind(str(trial))))
        if stops or final:
            self._end(trial, Outcome("pruned" if stops else "complete", "", score=score))
        return stops, 1.0

    def _end(self, trial: int, outcome: Outcome) -> None:
        made = self._reports[trial]
        if self._pace and outcome.state == "complete":
            self._pace.finished(str(trial), made[-1].score, lambda: made)
        elif self._pace:
            self._pace.ended(str(trial), [(report.step, report.score) for report in made])
        self._study.tell(trial, "", outcome)

    def close(self) -> None:
        """See `Player`."""
        self._study.close()


class Stock:
    """Ray's `OptunaSearch` and its ASHA, called as Tune's controller calls them."""

    def __init__(self, data: Recorded, seed: int) -> None:
        from optuna.distributions import CategoricalDistribution
        from ray.tune.schedulers import AsyncHyperBandScheduler
        from ray.tune.search.optuna import OptunaSearch

        self._data = data
        space = {d.path: CategoricalDistribution(d.options) for d in data.draws}
        self._searcher = OptunaSearch(space, metric="score", mode="min", seed=seed)
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="rung", metric="score", mode="min", max_t=data.rungs + 1, grace_period=1,
            reduction_factor=3,
        )  # fmt: skip
        self._asked = 0

    def ask(self) -> tuple[Any, int]:
        """See `Player`."""
        self._asked += 1
        trial = _Trial(str(self._asked))
        params = self._searcher.suggest(trial.trial_id)
        self._scheduler.on_trial_add(None, trial)
        return trial, self._data.number(params)

    def report(self, trial: _Trial, rung: int, scores: np.ndarray) -> tuple[bool, float]:
        """See `Player`."""
        result = {"score": float(scores.mean()), "rung": rung, "training_iteration": rung}
        final = rung == self._data.rungs
        stops = not final and self._scheduler.on_trial_result(None, trial, result) == "STOP"
        if not (stops or final):
            self._searcher.on_trial_result(trial.trial_id, result)
        else:
            self._scheduler.on_trial_complete(None, trial, result)
            self._searcher.on_trial_complete(trial.trial_id, result)
        return stops, 1.0

    def close(self) -> None:
        """See `Player`."""


@dataclass(frozen=True)
class _Trial:
    trial_id: str


def reached(played: Played, data: Recorded, score: float) -> float:
    """CPU seconds after which the recipe that is held confirms at `score` or better, for good."""
    late = np.inf
    for moment in reversed(played.moments):
        if data.confirmed[moment.recipe] > score:
            break
        late = moment.seconds
    return late


def _key(params: dict[str, Any]) -> str:
    return json.dumps(sorted(params.items()))


Make = Callable[[Recorded, int], Player]


def replays(make: Make, data: Recorded, seeds: Iterable[int], **limit: Any) -> Iterator[Played]:
    """The same search with many seeds; `limit` as `play` takes it."""
    for seed in seeds:
        yield play(make(data, seed), data, **limit)
