"""Trials that begin where an earlier one of the same models ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metasearch.observe.base import Observer, Outcome, SearchInfo, TrialInfo
from metasearch.registry import to_data
from metasearch.search.conductor import Fill
from metasearch.search.worker import whole_checkpoints
from metasearch.trial.report import Report


class Pool(Observer):
    """The best finished trial of each choice of models; what `search.warm_start` begins from.

    Where a trial began stands in its config, so its score is a function of that still. The order
    in which trials end decides who begins where: such scores are no independent draws.
    """

    def __init__(self, folder: Path) -> None:
        """Empty; `folder` is that of the run."""
        self._folder = folder
        self._sign = 1.0
        self._best: dict[str, tuple[float, TrialInfo]] = {}

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """Take in what finished before."""
        self._sign = 1.0 if search.direction == "minimize" else -1.0
        for trial, outcome in past:
            self.ended(trial, outcome)

    def started(self, trial: TrialInfo) -> None:
        """Nothing."""

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """Nothing."""

    def set_aside(self, trial: TrialInfo) -> None:
        """Nothing."""

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Keep it if it finished, and is the best of its models."""
        if outcome.state != "complete" or outcome.score is None:
            return
        value, models = self._sign * outcome.score, repr(trial.config.get("models"))
        if value < self._best.get(models, (math.inf, None))[0]:
            self._best[models] = (value, trial)

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """Nothing."""

    def after(self, fill: Fill) -> Fill:
        """What fills a recipe in, and then says where it begins."""
        return lambda tree: self.begin(fill(tree))

    def begin(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """A resolved recipe with where it starts; as it is if nobody with its models finished.

        A start that stands there is where the first begin.
        """
        from metasearch.trial.start import Start  # loads torch, which a driver may do without

        _, known = self._best.get(repr(config.get("models")), (0.0, None))
        found = whole_checkpoints(self._folder / "trials" / known.name) if known else []
        if not found:
            return config
        return {**config, "start": to_data(Start.at(found[0], self._folder))}
