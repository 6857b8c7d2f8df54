"""What a trial says from time to time. Ray, TensorBoard, a laptop and the tests consume it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

FLOOR = "Beta-Bernoulli pixels"  # what a standardised score counts as 1
REAL = "real images"  # and what as 0
KERNEL, MARGINAL = "kernel density", "pixel marginal"  # other floors


@dataclass(frozen=True)
class Cost:
    """What was spent on meta-training so far; evaluation is not in it, but for `seconds`."""

    gradients: int  # gradient evaluations, one per image and player
    meta_steps: int
    seconds: float  # wall time of this trial, over all its attempts, evaluation included


@dataclass(frozen=True)
class SampleGrid:
    """Pictures of the same few unseen tasks in every trial, uint8 [tasks, n, h, w, c]."""

    tasks: tuple[str, ...]
    support: np.ndarray
    before: np.ndarray
    after: np.ndarray
    truth: np.ndarray | None = None  # what `after` should show, where that is known


class Snapshot(Protocol):
    """All that continuing needs."""

    def save(self, folder: Path) -> None:
        """Write it; the manifest with checksums goes last, so a torn snapshot is never read."""
        ...


@dataclass(frozen=True)
class Pause:
    """A moment between two reports, kept because the next one may never be reached."""

    snapshot: Snapshot


@dataclass(frozen=True)
class Halt:
    """Why a judgement is broken off after some of its tasks: one of both is said."""

    lost: str = ""  # the trial is over
    behind: str = ""  # it has to wait, and may go on
    score: float = np.nan  # what the mean over all tasks is expected to be, of one that waits


@dataclass(frozen=True)
class Report:
    """One evaluation on the `search` tasks: the same episodes and noise in every trial."""

    step: int  # the rung, in gradient evaluations; equal in all trials of a search
    final: bool  # the budget is spent; the next report will not come
    cost: Cost
    score: float  # mean of `per_task`; NaN if the trial diverged
    low: float  # 95 % bootstrap interval of the mean over tasks
    high: float
    before: float  # the same score without adaptation
    per_task: Mapping[str, float]
    scalars: Mapping[str, float]  # "loss/<player>", "score/<name>", "tasks/non_finite", ...
    samples: SampleGrid | None = None
    snapshot: Snapshot | None = None
    lost: str = ""  # how a race was lost: `per_task` holds the tasks seen, `score` is their mean
    behind: str = ""  # why judging stopped for now: `score` is what the mean is expected to be

    @property
    def whole(self) -> bool:
        """Whether all tasks were judged."""
        return not (self.lost or self.behind)

    @staticmethod
    def broken_off(
        step: int, cost: Cost, halt: Halt, seen: Mapping[str, float], snapshot: Snapshot | None
    ) -> Report:
        """What is said where only some tasks were judged; who lost a race is over."""
        score = float(np.mean(list(seen.values()))) if halt.lost else halt.score
        nan, why = np.nan, (halt.lost, halt.behind)
        return Report(
            step, bool(halt.lost), cost, score, nan, nan, nan, seen, {}, None, snapshot, *why
        )

    def to_data(self) -> dict[str, Any]:
        """Plain JSON-like data, without pictures and snapshot: one line of reports.jsonl."""
        return {
            "step": self.step,
            "final": self.final,
            "cost": dict(vars(self.cost)),
            "score": self.score,
            "low": self.low,
            "high": self.high,
            "before": self.before,
            "per_task": dict(self.per_task),
            "scalars": dict(self.scalars),
            "lost": self.lost,
            "behind": self.behind,
        }

    @staticmethod
    def from_data(data: Mapping[str, Any], samples: SampleGrid | None = None) -> Report:
        """The report whose `to_data` this is."""
        return Report(**{**data, "cost": Cost(**data["cost"])}, samples=samples)
