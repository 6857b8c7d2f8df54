"""What can be watched: the events of a search, as plain data. Observers draw, print and plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from metasearch.space import Draw
from metasearch.trial.report import Report

__all__ = ["Draw", "Observer", "Outcome", "SearchInfo", "State", "TrialInfo", "Watched"]

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Watched:
    """A score that is told beside the one that ranks."""

    name: str
    unit: str
    direction: Literal["minimize", "maximize"]
    likelihood: bool  # told only by families that say how probable an image is


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

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """A trial is over."""
        ...

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """The search is over, or was interrupted."""
        ...
