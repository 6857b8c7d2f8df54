"""Two trials, of one run or of two, on the same unseen tasks. Reads run folders; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metasearch.errors import NoUsableTrial, RunError
from metasearch.interval import Difference, paired_difference
from metasearch.search.ledger import Record, Run

# Of a resolved config: what decides on which tasks and how a trial is judged.
_JUDGED_BY = ("score", "tasks", "judging")


@dataclass(frozen=True)
class Side:
    """One of the two."""

    run: Run
    record: Record
    picked: bool  # by hand; else it is the best of its run

    @staticmethod
    def of(run: Run, trial: int | None = None) -> Side:
        """The best trial of a run, or the one asked for.

        Raises:
            NoUsableTrial: no trial finished.
            RunError: the one asked for is not there, or has not finished.
        """
        if trial is None:
            best = run.best()
            if not best:
                raise NoUsableTrial(f"{run.folder}: no trial has finished, so there is no best.")
            return Side(run, best[0], picked=False)
        found = next((record for record in run.trials if record.number == trial), None)
        if found is None or found.outcome is None or found.outcome.state != "complete":
            known = ", ".join(str(record.number) for record in run.best(10)) or "none"
            raise RunError(f"{run.folder}: trial {trial} has not finished; finished are: {known}.")
        return Side(run, found, picked=True)

    @property
    def label(self) -> str:
        """Run and trial."""
        return f"{self.run.info.name} {self.record.info.name}"

    @property
    def per_task(self) -> Mapping[str, float]:
        """The last scores, task by task."""
        return self.record.last.per_task if self.record.last else {}


@dataclass(frozen=True)
class Comparison:
    """What the two differ by."""

    a: Side
    b: Side
    difference: Difference  # a - b, over tasks
    remarks: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether 0 lies outside the 95 % interval."""
        return bool(self.difference.low > 0 or self.difference.high < 0)

    @property
    def better(self) -> str | None:
        """`a` or `b`, if that is settled."""
        if not self.settled:
            return None
        low_is_good = self.a.run.info.direction == "minimize"
        return "a" if (self.difference.mean < 0) == low_is_good else "b"


def compare(a: Side, b: Side) -> Comparison:
    """The paired difference of two trials on the `search` tasks.

    Raises:
        RunError: they were not judged alike, and why.
    """
    if reason := judged_otherwise(a, b):
        raise RunError(
            f"{a.label} and {b.label} cannot be compared: {reason}. Search both with the same "
            "tasks, score and judging, or `metasearch evaluate` both bundles on the same tasks."
        )
    tasks = list(a.per_task)
    mine, other = (np.array([side.per_task[t] for t in tasks], np.float64) for side in (a, b))
    return Comparison(a, b, paired_difference(mine, other), tuple(_remarks(a, b)))


def judged_otherwise(a: Side, b: Side) -> str:
    """Why two trials' scores are not of the same tasks in the same way; empty if they are."""
    for key in _JUDGED_BY:
        mine, other = (side.record.info.config.get(key) for side in (a, b))
        if mine != other:
            return f"{key} differs ({_difference(mine, other)})"
    for key in ("fingerprint", "features"):
        mine, other = (side.run.manifest.get("data", {}).get(key) for side in (a, b))
        if mine != other:
            return f"the data differ ({key} {str(mine)[:12]!r} and {str(other)[:12]!r})"
    if not a.per_task or a.per_task.keys() != b.per_task.keys():
        return "their scores task by task were not kept, or are of other tasks"
    return ""


def _difference(mine: Any, other: Any) -> str:
    """The first setting in which two differ."""
    if isinstance(mine, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*mine, *other]):
            if mine.get(key) != other.get(key):
                return f"{key} {mine.get(key)!r} and {other.get(key)!r}"
    return f"{mine!r} and {other!r}"


def _remarks(a: Side, b: Side) -> list[str]:
    found = []
    spent = [(side.record.info.config.get("budget") or {}).get("gradients") for side in (a, b)]
    if spent[0] != spent[1]:
        found.append(f"the budgets differ: {spent[0]:,} and {spent[1]:,} gradient evaluations")
    if a.run.folder.resolve() == b.run.folder.resolve():
        return found
    for side in (a, b):
        finished = len(side.run.best(len(side.run.trials)))
        if not side.picked and finished > 1:
            found.append(
                f"{side.label} is the best of {finished} on these very tasks and looks better than "
                "it is; `export` judges both on tasks that chose nothing"
            )
    versions = [side.run.manifest.get("versions", {}).get("metasearch") for side in (a, b)]
    if versions[0] != versions[1]:
        found.append(f"searched by metasearch {versions[0]} and {versions[1]}: see Numerics in the "
                     "changelog")  # fmt: skip
    return found
