"""What is found about a winner on all splits: scores, guards, baselines, other seeds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metasearch.algorithms.mixture import AnyAdapter
from metasearch.interval import mean_interval
from metasearch.models.base import noise_per_task
from metasearch.models.conditions import conditioned
from metasearch.observe.grid import sample_grid, to_png
from metasearch.rng import Stream
from metasearch.scores import SCORES
from metasearch.scores.features import one_thread
from metasearch.search.baselines import against
from metasearch.search.confirm import Candidate, panel_of
from metasearch.search.files import to_json, write_atomically
from metasearch.tasks.base import Split
from metasearch.trial.anchors import UNTOUCHED, anchors_of
from metasearch.trial.judge import (
    Panel,
    Verdicts,
    judge,
    measure,
    ranking_score,
    scored,
    summarise,
)
from metasearch.trial.loop import Bench
from metasearch.trial.population import one_learner
from metasearch.trial.report import FLOOR, REAL

SHOWN: tuple[Split, ...] = ("search", "confirm", "test")
GUARDS = ("copying", "diversity", "precision", "recall", "coverage", "c2st", "cost")
"""Looked at beside the score, whether asked for or not, where features and images allow it."""
BESIDE = (FLOOR, REAL, UNTOUCHED)
"""What stands beside each of them; beside the score that ranks stand all floors there are."""


def gather_evidence(
    winner: Candidate,
    rivals: Mapping[str, AnyAdapter],
    repeats: Sequence[AnyAdapter],
    bench: Bench,
    place: Path,
) -> None:
    """Judge the winner, its rivals and itself from other seeds, and keep what was found."""
    config, adapter = winner.config, winner.adapter
    panels = {split: _panel(winner, bench, split) for split in SHOWN}
    plain = {split: replace(p, scores=p.scores[:1]) for split, p in panels.items()}
    with one_thread():  # as `evaluate` does
        verdicts = {s: judge(adapter, config.engine, panel) for s, panel in panels.items()}
    splits = {s: ranking_score(verdicts[s], panel) for s, panel in panels.items()}
    found: dict[str, Any] = {}
    for name, rival in rivals.items():
        told = {s: measure(rival, config.engine, panel) for s, panel in plain.items()}
        found |= _named(name, told)
    learner, domain = one_learner(winner.champion), verdicts["test"].domain
    score = config.score
    report = {
        "format": 1,
        "score": {"name": score.name, "unit": score.unit, "direction": score.direction},
        "trial": winner.record.number,
        "recipe": {
            "model": winner.champion.family.name,
            "algorithm": winner.champion.algorithm.name,
        },
        "splits": splits,
        "watched": _watched(winner, bench, verdicts, panels),
        "adaptation": _adaptation(winner, panels["search"]),
        "baselines": found | anchors_of(config, bench, learner, plain, domain),
        "against": {
            name: {s: against(splits[s], entry[s]) for s in SHOWN} for name, entry in found.items()
        },
        "repeats": _repeats(winner, repeats, splits, plain),
    }
    place.mkdir(parents=True, exist_ok=True)
    (place / "samples.png").write_bytes(to_png(sample_grid(verdicts["test"].grid)))
    write_atomically(place / "report.json", to_json(report) + "\n")  # last: then all is there


def _panel(winner: Candidate, bench: Bench, split: Split) -> Panel:
    """With the guards that there are features and images for."""
    config = winner.config
    enough = min(config.judging.samples, config.tasks.query)
    guards = [SCORES[name]() for name in GUARDS]
    also = [
        guard.name
        for guard in guards
        if guard.least <= enough and (bench.features is not None or not guard.needs_features)
    ]
    return panel_of(config, bench, split, also=also)


def _named(name: str, told: Mapping[Split, dict[str, Any]]) -> dict[str, Any]:
    """A baseline's rows: what was trained jointly is shown with and without its fine-tuning."""
    if name != "joint":
        return {name: dict(told)}
    before = {split: entry["before"] for split, entry in told.items()}
    return {"joint": before, "joint + fine-tune": dict(told)}


def _watched(
    winner: Candidate,
    bench: Bench,
    verdicts: Mapping[Split, Verdicts],
    panels: Mapping[Split, Panel],
) -> dict[str, dict[str, Any]]:
    """Score name -> its unit and direction, and split -> mean and interval over tasks.

    With the mean before adapting, and those of `BESIDE` where they have one.
    """
    config, learner = winner.config, one_learner(winner.champion)
    found: dict[str, dict[str, Any]] = {}
    for split, panel in panels.items():
        rest, domain = replace(panel, scores=panel.scores[1:]), verdicts[split].domain
        with one_thread():
            before, _, _ = scored(winner.adapter.still(), config.engine, rest)
        for score in rest.scores:
            values = verdicts[split].after.get(score.name)
            if values is None:
                continue
            told, scoring = summarise(values, panel.tasks), replace(config, score=score)
            ends = anchors_of(scoring, bench, learner, {split: panel}, domain, BESIDE)
            about = {"unit": score.unit, "direction": score.direction}
            found.setdefault(score.name, about)[split] = {
                **{end: told[end] for end in ("mean", "low", "high")},
                "before": mean_interval(before[score.name]).mean,
                "anchors": {name: at[split]["mean"] for name, at in ends.items()},
            }
    return found


def _adaptation(winner: Candidate, panel: Panel) -> dict[str, Any]:
    """What adapting to one task takes; seconds are of this machine, and rank nothing."""
    adapter, family = winner.adapter, winner.adapter.learner.family
    episodes = conditioned(family, panel.episodes.select([0]))
    noise = noise_per_task(family, Stream(0).at("adaptation"), episodes.tasks)
    with one_thread():
        began = time.perf_counter()
        adapted = adapter.adapt(winner.config.engine, episodes.support, 1, noise)
        seconds = time.perf_counter() - began
    parameters = adapter.learner.parameters().values()
    return {
        "gradients": adapted.gradients,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in parameters),
        "threads": 1,
        "device": str(torch.device("cpu")),
    }


def _repeats(
    winner: Candidate,
    repeats: Sequence[AnyAdapter],
    splits: Mapping[Split, dict[str, Any]],
    panels: Mapping[Split, Panel],
) -> dict[str, Any]:
    """Means of the recipe trained from other seeds, and the deviation over all seeds."""
    engine, first = winner.config.engine, winner.config.seed
    means = {
        split: [measure(other, engine, panel)["mean"] for other in repeats]
        for split, panel in panels.items()
    }
    together = {s: np.array([splits[s]["mean"], *values]) for s, values in means.items()}
    return {
        "seeds": [first + 1 + i for i in range(len(repeats))],
        "means": means,
        "deviation": {s: float(x.std(ddof=1)) if len(x) > 1 else None for s, x in together.items()},
    }
