"""Recorded trials, and searches over them that are driven by hand: what they find and cost."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from benchmarks.search.record import HERE, recipes
from metasearch import space


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
    asked: int  # trials

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
    return Played(moments, judged / (asked * data.rungs), whole, spent, asked)


class Stock:
    """Ray's `OptunaSearch` and its ASHA, called as Tune's controller calls them.

    The space is told by a function, as Optuna wants it where some draws belong to a branch.
    """

    def __init__(self, data: Recorded, seed: int) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler
        from ray.tune.search.optuna import OptunaSearch

        self._data = data
        tree = recipes(data.grid)[0].space

        def drawn(trial: Any) -> None:
            space.sample(tree, trial)

        self._searcher = OptunaSearch(drawn, metric="score", mode="min", seed=seed)
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
