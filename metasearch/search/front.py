"""The Pareto front: trials that no other beats in every objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metasearch.search.ledger import Record, Run


@dataclass(frozen=True)
class Peak:
    """A trial on the front."""

    record: Record
    values: Mapping[str, float]  # name of the score -> what was reached; the one that ranks first


def front(run: Run) -> list[Peak]:
    """The trials on the front, best in the ranking score first; empty with one objective.

    Of trials that keep the bounds, or of all if none does.
    """
    info = run.info
    if not info.objectives:
        return []
    peaks = []
    for record in run.best(len(run.trials)):
        assert record.outcome is not None
        assert record.outcome.score is not None
        told = record.last.scalars if record.last else {}
        values = {
            name: told[f"score/{name}"] for name in info.objectives if f"score/{name}" in told
        }
        if len(values) == len(info.objectives):
            peaks.append(Peak(record, {info.score: record.outcome.score, **values}))
    directions = {w.name: w.direction for w in info.watched} | {info.score: info.direction}
    names = (info.score, *info.objectives)
    signs = np.array([1.0 if directions[name] == "minimize" else -1.0 for name in names])
    costs = signs * np.array([[peak.values[name] for name in names] for peak in peaks])
    return [peaks[i] for i in undominated(costs.reshape(len(peaks), len(names)))]


def under(run: Run) -> str:
    """What the trials on the front keep, as the end of a sentence, or that they do not."""
    if not run.info.bounds:
        return ""
    bounds = " and ".join(map(str, run.info.bounds))
    return f", with {bounds}" if _kept(run) else f"; none keeps {bounds}"


def _kept(run: Run) -> bool:
    return any(record.outcome and record.outcome.kept for record in run.best())


def undominated(costs: np.ndarray) -> Sequence[int]:
    """Which rows of [n, objectives] no other beats: as low everywhere and lower somewhere."""
    return [
        i for i, row in enumerate(costs) if not ((costs <= row).all(1) & (costs < row).any(1)).any()
    ]
