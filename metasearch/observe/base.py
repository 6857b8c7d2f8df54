"""What can be watched: the events of a search, as plain data. Observers draw, print and plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from metasearch.space import Draw
from metasearch.trial.report import Report

__all__ = [
    "Bound",
    "Draw",
    "Limit",
    "Observer",
    "Outcome",
    "SearchInfo",
    "State",
    "TrialInfo",
    "Watched",
]

UNTOLD = 1e9  # by how much a bound is broken where its score is not told
LIMITS = ("time", "gradients", "gpu_hours")
Limit = Literal["", "time", "gradients", "gpu_hours"]
State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Watched:
    """A score that is told beside the one that ranks."""

    name: str
    unit: str
    direction: Literal["minimize", "maximize"]
    likelihood: bool  # told only by families that say how probable an image is


@dataclass(frozen=True)
class Bound:
    """What a watched score must keep to; a trial that does not tell it does not keep it."""

    score: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        limits = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(
            f"{self.score} {word} {limit:g}" for word, limit in limits if limit is not None
        )

    def excess(self, scalars: Mapping[str, float]) -> float:
        """By how much the bound is broken by a report's scalars; 0 or less if it is kept."""
        value = scalars.get(f"score/{self.score}", math.nan)
        if not math.isfinite(value):
            return UNTOLD
        over = [] if self.at_most is None else [value - self.at_most]
        under = [] if self.at_least is None else [self.at_least - value]
        return max(over + under)


@dataclass(frozen=True)
class SearchInfo:
    """What is known of a search before its first trial."""

    name: str
    folder: Path
    trials: int  # how many are asked in all
    time_s: float | None  # wall time after which no more are asked
    score: str  # the name of the score trials are ranked by
    unit: str
    direction: Literal["minimize", "maximize"]
    draws: Sequence[Draw]
    watched: Sequence[Watched] = ()
    objectives: Sequence[str] = ()  # watched scores that count beside the one that ranks
    bounds: Sequence[Bound] = ()  # what a trial has to keep to be wanted at all
    gradients: int | None = None  # gradient evaluations of all trials after which none is asked
    gpu_hours: float | None = None  # the same in hours of a GPU
    gpus: float = 0.0  # of one trial

    def over(self, elapsed_s: float, gradients: int, trial_s: float) -> Limit:
        """Which limit is reached, if one is; trials, which are counted elsewhere, aside.

        Args:
            elapsed_s: the clock of the search.
            gradients: spent in all trials.
            trial_s: seconds of all trials together.
        """
        if self.time_s is not None and elapsed_s >= self.time_s:
            return "time"
        if self.gradients is not None and gradients >= self.gradients:
            return "gradients"
        if self.gpu_hours is not None and self.gpus * trial_s >= 3600 * self.gpu_hours:
            return "gpu_hours"
        return ""

    def kept(self, scalars: Mapping[str, float]) -> bool:
        """Whether a report keeps all bounds."""
        return all(bound.excess(scalars) <= 0 for bound in self.bounds)


@dataclass(frozen=True)
class TrialInfo:
    """One trial as asked."""

    number: int
    name: str  # "0007-vae-reptile": its folder and its TensorBoard run
    params: Mapping[str, Any]  # draw path -> value or label; only what its branches contain
    config: Mapping[str, Any]  # resolved, as in config.yaml


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    state: State
    reason: str  # "finished" | "pruner" | "race" | "non_finite" | "user" | "out_of_memory" | ...
    score: float | None = None  # of the last report
    low: float | None = None
    high: float | None = None
    step: int = 0  # of the last report
    error: str = ""  # the last lines of a traceback
    seconds: float = 0.0
    detail: str = ""  # more about the reason, as "worse than 0003 on 16 of 48 tasks, p 2e-06"
    kept: bool = True  # whether one that is complete keeps all bounds


class Observer(Protocol):
    """Called in the driver, in the order things happen; only `opened` tells of earlier sittings."""

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """The search begins, or goes on after `past`."""
        ...

    def started(self, trial: TrialInfo) -> None:
        """A trial was handed to a worker."""
        ...

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """A trial was evaluated."""
        ...

    def set_aside(self, trial: TrialInfo) -> None:
        """A trial was set aside after a report; it may be started again, and ends in any case."""
        ...

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """A trial is over."""
        ...

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """The search is over, or was interrupted."""
        ...
