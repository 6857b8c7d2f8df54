"""Ranking the best of a search again, on tasks that it never used."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metasearch.algorithms.mixture import AnyAdapter
from metasearch.errors import NoUsableTrial, RunError
from metasearch.interval import mean_interval
from metasearch.scores import SCORES
from metasearch.scores.features import one_thread, pixel_features, random_features
from metasearch.search.leaders import apart, standardised
from metasearch.search.ledger import Record
from metasearch.search.worker import whole_checkpoints
from metasearch.tasks.base import Batch, Split
from metasearch.trial.anchors import anchors_of, bare_subject
from metasearch.trial.config import TrialConfig, from_data
from metasearch.trial.judge import Panel, scored, settle, summarise
from metasearch.trial.loop import Bench, champion_at
from metasearch.trial.population import Champion
from metasearch.trial.report import FLOOR, REAL

Tell = Callable[[str], None]
Rule = Literal["best", "one_se"]


@dataclass(frozen=True)
class Candidate:
    """A finished trial, brought back from its last checkpoint."""

    record: Record
    config: TrialConfig
    checkpoint: Path
    champion: Champion  # on the CPU, as `evaluate` judges
    together: tuple[tuple[int, float], ...] = ()  # number and share of each, if it is several

    @staticmethod
    def revive(record: Record, bench: Bench) -> Candidate:
        """Load what the trial stands for.

        Raises:
            RunError: its checkpoints are gone or damaged.
        """
        config = from_data(record.info.config)
        found = whole_checkpoints(record.folder)
        if not found:
            raise RunError(f"{record.folder}: no whole checkpoint is left; choose another trial.")
        champion = champion_at(replace(config, device="cpu"), found[0], bench)
        return Candidate(record, config, found[0], champion)

    @property
    def adapter(self) -> AnyAdapter:
        """What adapts to an unseen task."""
        return self.champion.adapter


@dataclass(frozen=True, eq=False)
class Judged:
    """A candidate on the `confirm` tasks."""

    candidate: Candidate
    values: dict[str, np.ndarray]  # score name -> [tasks]
    samples: Batch  # what it drew there
    score: np.ndarray  # of the one that ranks, where a diverged task counts as the worst

    @property
    def mean(self) -> float:
        """Over tasks; NaN if most diverged."""
        return float(self.score.mean())

    @property
    def price(self) -> tuple[float, int]:
        """Gradient evaluations to adapt to a task, then parameters."""
        parameters = self.candidate.adapter.learner.parameters().values()
        return mean_interval(self.values["cost"]).mean, sum(p.numel() for p in parameters)


def rank(
    candidates: Sequence[Candidate], bench: Bench, *, rule: Rule = "best", tell: Tell = print
) -> tuple[Candidate, dict[str, Any]]:
    """The winner on `confirm`, and how all did there, best first.

    `best` takes the first; `one_se` the cheapest to adapt of those whose mean difference to the
    first, task by task, is within its standard error.

    Source: Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3, the one
    standard error rule. Differs: the error is that of the paired difference.

    Raises:
        NoUsableTrial: all diverge.
    """
    config = candidates[0].config
    panel = panel_of(config, bench, "confirm", also=("cost",))
    sign = 1.0 if config.score.direction == "minimize" else -1.0
    found = []
    for candidate in candidates:
        judged = judge_on(candidate, panel)
        tell(f"{candidate.record.info.name}: {judged.mean:.4g} on confirm")
        found.append(judged)
    found.sort(key=lambda one: math.inf if math.isnan(one.mean) else sign * one.mean)
    if math.isnan(found[0].mean):
        raise NoUsableTrial(
            f"{candidates[0].record.folder.parent}: every trial diverges on the confirm tasks, so "
            "there is nothing to export. Search with smaller inner rates."
        )
    chosen = cheapest(found, sign) if rule == "one_se" else found[0]
    rows = _rows(found, panel, bench, sign)
    return chosen.candidate, {
        "rule": rule,
        "rows": rows,
        "features": agreement(found, panel, bench),
    }


def panel_of(config: TrialConfig, bench: Bench, split: Split, *, also: Sequence[str] = ()) -> Panel:
    """The panel of a split on the CPU, with scores of these names beside the recipe's own."""
    panel = Panel.gather(config, bench.data, bench.features, split, "cpu")
    mine = {score.name for score in panel.scores}
    more = tuple(SCORES[name]() for name in also if name not in mine)
    return replace(panel, scores=(*panel.scores, *more))


def judge_on(candidate: Candidate, panel: Panel) -> Judged:
    """Adapt to each task of a panel and score it."""
    with one_thread():
        values, samples, _ = scored(candidate.adapter, candidate.config.engine, panel)
    first = panel.scores[0]
    high = first.direction == "minimize"
    return Judged(candidate, values, samples, settle(values[first.name], worst_is_high=high))


def cheapest(found: Sequence[Judged], sign: float) -> Judged:
    """Of the best and all within one standard error of it, the one that adapts at least cost."""
    best = found[0].score
    near = []
    for judged in found:
        behind, error, _ = apart(sign * (judged.score - best), 1)
        if behind <= error:  # not so for NaN
            near.append(judged)
    return min(near, key=lambda judged: judged.price)


def _rows(found: Sequence[Judged], panel: Panel, bench: Bench, sign: float) -> list[dict[str, Any]]:
    config, first = found[0].candidate.config, found[0]
    learner, domain = first.candidate.adapter.learner, next(iter(first.samples))
    anchors = anchors_of(config, bench, learner, {"confirm": panel}, domain, (REAL, FLOOR))
    names = {"score/real": REAL, "score/floor": FLOOR}
    ends = {tag: anchors[n]["confirm"]["mean"] for tag, n in names.items() if n in anchors}
    rows = []
    for place, judged in enumerate(found):
        record, told = judged.candidate.record, summarise(judged.score, panel.tasks)
        behind, _, settled = apart(sign * (judged.score - first.score), len(found) - 1)
        watched = {
            n: mean_interval(v).mean for n, v in judged.values.items() if n != config.score.name
        }
        cost, parameters = judged.price
        rows.append({
            "trial": record.number,
            "name": record.info.name,
            "search": record.outcome.score if record.outcome else None,
            "confirm": told["mean"], "low": told["low"], "high": told["high"],
            "standard": standardised(told["mean"], ends),
            "behind": behind if place else None,
            "settled": settled if place else None,
            "cost": cost, "parameters": parameters, "watched": watched,
        })  # fmt: skip
    return rows


def agreement(found: Sequence[Judged], panel: Panel, bench: Bench) -> dict[str, float]:
    """Spearman's correlation of the ranking with that in other features: raw pixels, random net.

    Empty where the score looks at no features, or fewer than three candidates stayed finite.
    """
    config = found[0].candidate.config
    kept = [judged for judged in found if math.isfinite(judged.mean)]
    if not config.score.needs_features or config.score.looks_at != "samples" or len(kept) < 3:
        return {}
    means = [judged.mean for judged in kept]
    told: dict[str, float] = {}
    for features in (random_features(bench.data), pixel_features(bench.data)):
        other = replace(panel, features=features)
        anew = []
        for judged in kept:
            subject = bare_subject(config, other, judged.candidate.adapter.learner)
            anew.append(mean_interval(config.score(subject.posing(judged.samples)).numpy()).mean)
        told[features.kind] = spearman(means, anew)
    return told


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """The correlation of ranks, equal numbers sharing theirs; NaN if one side is constant.

    >>> spearman([1, 2, 3], [10, 20, 90]), spearman([1, 2, 3], [3, 2, 1])
    (1.0, -1.0)
    """
    ranks = [_ranks(np.asarray(side, np.float64)) for side in (a, b)]
    x, y = (side - side.mean() for side in ranks)
    size = math.sqrt(float((x @ x) * (y @ y)))
    return float(x @ y) / size if size else math.nan


def _ranks(values: np.ndarray) -> np.ndarray:
    below = (values[:, None] > values).sum(1)
    return below + ((values[:, None] == values).sum(1) - 1) / 2
