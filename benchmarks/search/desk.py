"""Our searches over recorded trials: the desk itself, with a backend that looks reports up.

Ledger, study and race are those of a real search; only workers and clocks are not.
"""

from __future__ import annotations

import functools
import heapq
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.search.record import recipes
from benchmarks.search.replay import Moment, Played, Recorded
from metasearch import space
from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.search.backend import Desk, Message, Order
from metasearch.search.config import SearchConfig
from metasearch.search.plan import Plan
from metasearch.search.racing import Hurdles
from metasearch.search.run import run_search
from metasearch.search.share import Share
from metasearch.trial.report import Cost, Report

LOTS = 3  # in which tasks are judged
BACK_S = 0.1  # CPU to go on from a checkpoint
ENDLESS = 10**6  # trials
_QUICK = Path("/dev/shm")


@dataclass
class _Played:
    """A trial that began."""

    recipe: int
    rungs: int = 0  # made
    ms: int = 0  # of CPU


class Slots:
    """A backend for recorded trials, and an observer that notes who leads when.

    A rung ends when its seconds have passed. What a search spends is told to it as gradients, in
    milliseconds of CPU, so that it can be given a budget.
    """

    in_process = True

    def __init__(self, data: Recorded, slots: int) -> None:
        self._data = data
        self._slots = slots
        self._trials: dict[int, _Played] = {}
        self._best = float("inf")
        self.spent = 0.0
        self.judged = 0.0
        self.whole = 0
        self.moments: list[Moment] = []

    def __enter__(self) -> Slots:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held."""

    def settle(self, recipes: Sequence[Mapping[str, Any]]) -> Share:  # noqa: ARG002
        """No card is shared."""
        return Share(0.0)

    def run(self, desk: Desk) -> None:
        """Return once the desk is closed and every trial that ran has stopped."""
        events: list[tuple[float, int, Order]] = []  # end of a rung: time, order of asking, trial
        now, asked = 0.0, 0
        while True:
            while len(events) < self._slots and (order := desk.next()) is not None:
                asked += 1
                heapq.heappush(events, (now + self._begin(order), asked, order))
            if not events:
                return
            now, turn, order = heapq.heappop(events)
            if not desk.heard(order.number, self._report(order)):
                heapq.heappush(events, (now + self._rung_s(order), turn, order))

    def _begin(self, order: Order) -> float:
        if order.number not in self._trials:
            recipe = _numbers(self._data.grid)[_key(order.config)]
            self._trials[order.number] = _Played(recipe)
            return self._rung_s(order)
        self._spend(self._trials[order.number], BACK_S)
        return BACK_S + self._rung_s(order)

    def _rung_s(self, order: Order) -> float:
        return self._data.seconds(self._trials[order.number].recipe)

    def _spend(self, played: _Played, seconds: float) -> None:
        played.ms += round(1000 * seconds)
        self.spent += seconds

    def _report(self, order: Order) -> Message:
        played, seen, halt = self._trials[order.number], {}, None
        scores = self._data.search[played.recipe, played.rungs]
        race = Hurdles.of_data(order.race) if order.race else Hurdles()
        played.rungs += 1
        for lot in range(LOTS):
            seen |= {f"{i:03d}": float(scores[i]) for i in range(lot, len(scores), LOTS)}
            if halt := race(played.rungs, seen, LOTS):
                break
        share = len(seen) / len(scores) * (1 - 1e-9 if halt else 1)
        self._spend(played, self._data.seconds(played.recipe, share))
        self.judged += share
        mean = halt.score if halt and halt.behind else sum(seen.values()) / len(seen)
        final, cost = played.rungs == self._data.rungs, Cost(played.ms, played.rungs, played.ms)
        report = Report(played.rungs, final, cost, mean, mean, mean, mean, seen, {})
        if halt:
            report = replace(report, lost=halt.lost, behind=halt.behind)
        return {"report": report.to_data(), "samples": None}

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """See `Observer`."""

    def started(self, trial: TrialInfo) -> None:
        """See `Observer`."""

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """See `Observer`."""

    def set_aside(self, trial: TrialInfo) -> None:
        """See `Observer`."""

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """See `Observer`."""
        if outcome.state == "complete" and outcome.score is not None:
            self.whole += 1
            recipe = self._trials[trial.number].recipe
            leader = recipe if outcome.score < self._best else self.moments[-1].recipe
            self._best = min(self._best, outcome.score)
            self.moments.append(Moment(self.spent, leader))

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - as observers have it
        """See `Observer`."""


def ours(
    data: Recorded, seed: int, *, trials: int = ENDLESS, seconds: float | None = None,
    slots: int = 2, **search: Any,
) -> Played:  # fmt: skip
    """A search with these settings, and all others as by default; `seconds` are of CPU."""
    budget = None if seconds is None else round(1000 * seconds)
    config = SearchConfig(name="replay", trials=trials, gradients=budget, seed=seed, **search)
    tree = recipes(data.grid)[0].space
    plan = Plan(config, tree, "score", "", "minimize", reports=data.rungs, races=True)
    backend = Slots(data, slots)
    with tempfile.TemporaryDirectory(dir=_QUICK if os.access(_QUICK, os.W_OK) else None) as folder:
        run = run_search(plan, Path(folder) / "run", [backend], backend=backend).run
    asked = len(run.trials)
    return Played(
        backend.moments, backend.judged / (asked * data.rungs), backend.whole, backend.spent, asked
    )


@functools.cache
def _numbers(grid: str) -> dict[str, int]:
    """Resolved recipes -> which one that is."""
    file, params = recipes(grid)
    return {_key(space.resolve(file.space, one)): i for i, one in enumerate(params)}


def _key(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)
