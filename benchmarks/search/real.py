"""Whole searches that train: ours as `run_search` runs it, and the stock one driven by hand.

One trial at a time, in CPU seconds of this process, so that advisors, ledger and journal count.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.record import recipes
from benchmarks.search.replay import Moment, Played, Recorded, Stock
from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.search.plan import Plan
from metasearch.search.run import run_search
from metasearch.trial.loop import Trial, bench_for
from metasearch.trial.report import Report


class Clock:
    """CPU seconds so far, and which recipe led when; an observer of our searches."""

    def __init__(self, data: Recorded) -> None:
        self._data = data
        self._began = time.process_time()
        self._best = np.inf
        self.moments: list[Moment] = []

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.process_time() - self._began

    def finished(self, recipe: int, score: float) -> None:
        """A trial ran to its end."""
        leader = recipe if score < self._best else self.moments[-1].recipe
        self._best = min(self._best, score)
        self.moments.append(Moment(self.seconds, leader))

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
            self.finished(self._data.number(dict(trial.params)), outcome.score)

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - as observers have it
        """See `Observer`."""


def ours(data: Recorded, seed: int, trials: int) -> Played:
    """A search with all as by default."""
    file, _ = recipes(data.grid)
    search = replace(file.search, trials=trials, seed=seed, backend="local")
    with tempfile.TemporaryDirectory() as folder:
        plan, clock = Plan.of(replace(file, search=search)), Clock(data)
        run = run_search(plan, Path(folder) / "run", [clock]).run
        reports = sum(len(trial.said()) for trial in run.trials)
    return Played(
        clock.moments,
        reports / (trials * data.rungs),
        run.count("complete"),
        clock.seconds,
        trials,
    )


def stock(data: Recorded, seed: int, trials: int) -> Played:
    """Ray's `OptunaSearch` and ASHA over the same trials."""
    file, params = recipes(data.grid)
    player, clock = Stock(data, seed), Clock(data)
    bench, reports = bench_for(file.config(params[0])), 0
    for _ in range(trials):
        handle, recipe = player.ask()
        trial = Trial.open(file.config(params[recipe]), bench)
        for rung in range(1, data.rungs + 1):
            report = trial.advance()
            reports += 1
            scores = np.array(list(report.per_task.values()))
            if player.report(handle, rung, scores)[0]:
                break
        else:
            clock.finished(recipe, report.score)
    whole = len(clock.moments)
    return Played(clock.moments, reports / (trials * data.rungs), whole, clock.seconds, trials)


SEARCHES: dict[str, Any] = {"ours, as by default": ours, "OptunaSearch + ASHA": stock}
