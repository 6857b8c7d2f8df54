"""Trials that begin where an earlier one of the same models ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metasearch.observe.base import Observer, Outcome, SearchInfo, TrialInfo
from metasearch.registry import revive, to_data
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
        self._best: dict[str, tuple[tuple[bool, float], TrialInfo]] = {}

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
        """Keep it if it finished, and is the best of its models; who breaks a bound is last."""
        if outcome.state != "complete" or outcome.score is None:
            return
        models = _models(trial.config)
        rank = not outcome.kept, self._sign * outcome.score
        if models not in self._best or rank < self._best[models][0]:
            self._best[models] = (rank, trial)

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """Nothing."""

    def after(self, fill: Fill) -> Fill:
        """What fills a recipe in, and then says where it begins."""
        return lambda tree: self.begin(fill(tree))

    def best_of(self, config: Mapping[str, Any]) -> TrialInfo | None:
        """The best that finished with the models of a recipe, if one did."""
        _, known = self._best.get(_models(config), (None, None))
        return known

    def begin(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """A resolved recipe with where it starts; as it is if nobody with its models finished.

        A start that stands there is where the first begin.
        """
        from metasearch.trial.start import Start  # loads torch, which a driver may do without

        known = self.best_of(config)
        found = whole_checkpoints(self._folder / "trials" / known.name) if known else []
        if not found:
            return config
        return {**config, "start": to_data(Start.at(found[0], self._folder))}


def _models(config: Mapping[str, Any]) -> str:
    """The models of a recipe with all their settings, also those that came after it was drawn."""
    from metasearch.models import MODELS

    told = config.get("models") or ()
    return repr([to_data(revive(MODELS, model, "models")) for model in told])
