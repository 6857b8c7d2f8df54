"""Judging on unseen tasks: the same episodes and the same noise for every trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.mixture import AnyAdapter
from metasearch.engine.base import Engine
from metasearch.interval import mean_interval
from metasearch.models.base import noise_per_task
from metasearch.models.conditions import conditioned
from metasearch.rng import Stream
from metasearch.scores.base import Features, Score, Subject, by_task, lacks
from metasearch.scores.features import one_thread
from metasearch.scores.translation import translated
from metasearch.tasks.base import (
    Batch,
    Episodes,
    Split,
    TaskDistribution,
    TaskId,
    image_domains,
)
from metasearch.trial.config import TrialConfig
from metasearch.trial.report import Halt, SampleGrid

CHUNK = 16  # tasks adapted at once: bounds memory, changes no number
SHOWN = 6  # tasks in a sample grid
Race = Callable[[Mapping[str, float], int], Halt | None]
"""Takes the ranking score by task so far, and how often it is asked; says why to judge no further.

None asks for more.
"""

_JUDGING = Stream(0).at("judging")  # apart from the trial's seed: repeats meet the same episodes


@dataclass(frozen=True)
class Panel:
    """The episodes of one split that every trial is judged on, and the scores that judge."""

    episodes: Episodes
    scores: tuple[Score, ...]  # the first is the one that ranks
    features: Features | None
    samples: int  # images generated per task

    @staticmethod
    def gather(
        config: TrialConfig,
        data: TaskDistribution,
        features: Features | None,
        split: Split,
        device: str,
    ) -> Panel:
        """Pick the tasks of a split, one episode each; depends on no trial's seed or settings."""
        source, judging = config.tasks, config.judging
        names = list(data.tasks(split))
        order = _JUDGING.at("tasks", split).numpy().permutation(len(names))
        episodes = data.episodes(
            sorted(names[i] for i in order[: judging.tasks]),
            shot=source.shot,
            query=source.query,
            anchor=source.anchor,
            rng=_JUDGING.at("episodes", split),
        )
        scores = (config.score, *config.also)
        return Panel(to_device(episodes, device), scores, features, judging.samples)

    @property
    def tasks(self) -> tuple[TaskId, ...]:
        """The judged tasks, in the order of every vector of scores."""
        return self.episodes.tasks


@dataclass(frozen=True)
class Verdicts:
    """Per task, in the panel's order: what scored after adaptation, and before it."""

    after: dict[str, np.ndarray]  # score name -> [tasks], of every score that applies
    before: dict[str, np.ndarray]  # the same of the one that ranks
    diverged: int  # tasks whose adaptation gave no finite number
    grid: SampleGrid
    domain: str  # what was generated and looked at


class BrokenOff(Exception):  # noqa: N818 - no error: a race said so
    """A judgement was broken off."""

    def __init__(self, halt: Halt, seen: Mapping[str, float]) -> None:
        super().__init__(halt.lost or halt.behind)
        self.halt = halt
        self.seen = seen  # the ranking score by task, as far as it came


def judge(adapter: AnyAdapter, engine: Engine, panel: Panel, race: Race | None = None) -> Verdicts:
    """Adapt to each task of the panel and score it; the learner is left as it was.

    Raises:
        BrokenOff: the race said so.
    """
    after, new, diverged = scored(adapter, engine, panel, race)
    first = replace(panel, scores=panel.scores[:1])  # the others are asked of what adapted only
    before, old, _ = scored(adapter.still(), engine, first)
    if panel.episodes.paired and not lacks(adapter.learner.family, "translation"):
        grid = _beside_the_truth(adapter, engine, panel)
    else:
        grid = _grid(panel.episodes, before=old, after=new)
    return Verdicts(after, before, diverged, grid, domain=next(iter(new)))


def scored(
    adapter: AnyAdapter, engine: Engine, panel: Panel, race: Race | None = None
) -> tuple[dict[str, np.ndarray], Batch, int]:
    """Every score per task, the samples [tasks * n, ...], and how many tasks diverged.

    Raises:
        BrokenOff: the race said so.
    """
    scores = [s for s in panel.scores if not lacks(adapter.learner.family, s.asks)]
    of_models: list[dict[str, Tensor]] = []
    drawn: list[Batch] = []
    seen: dict[str, float] = {}
    lots = _lots(len(panel.tasks))
    for lot in lots:
        subject = _adapted_to(adapter, engine, panel, lot)
        with torch.no_grad():
            drawn.append(subject.samples)
            of_models.append({s.name: s(subject) for s in scores if s.looks_at == "model"})
            if race is not None:
                ranking = of_models[-1].get(scores[0].name)
                ranking = scores[0](subject) if ranking is None else ranking
                seen |= dict(zip(subject.episodes.tasks, ranking.tolist(), strict=True))
                if halt := race(seen, len(lots)):
                    raise BrokenOff(halt, seen)
    back = torch.tensor([i for lot in lots for i in lot]).argsort()
    samples = {d: _in_order([part[d] for part in drawn], back) for d in drawn[0]}
    # A score of samples may look at all tasks together (a critic does), so it sees them once.
    whole = replace(subject, episodes=panel.episodes).posing(samples)
    values = {
        s.name: _in_order([p[s.name] for p in of_models], back)
        if s.looks_at == "model"
        else s(whole)
        for s in scores
    }
    found = {name: x.detach().double().cpu().numpy() for name, x in values.items()}
    diverged = int(np.max([np.sum(~np.isfinite(v)) for v in found.values()]))
    return found, samples, diverged


def _lots(tasks: int) -> list[range]:
    """Which tasks are adapted at once: every so many-th, for neighbours by name are alike."""
    lots = -(-tasks // CHUNK)
    return [range(first, tasks, lots) for first in range(lots)]


def _adapted_to(adapter: AnyAdapter, engine: Engine, panel: Panel, lot: range) -> Subject:
    family = adapter.learner.family
    episodes = conditioned(family, panel.episodes.select(lot))
    noise = noise_per_task(family, _JUDGING.at("noise"), episodes.tasks)
    adapted = adapter.adapt(engine, episodes.support, len(episodes.tasks), noise)
    return Subject(adapted, episodes, noise, panel.features, panel.samples)


def _in_order(parts: list[Tensor], back: Tensor) -> Tensor:
    """Rows of the lots, one after another, to rows of the tasks as the panel has them."""
    rows = torch.cat(parts)
    return by_task(rows, len(back))[back.to(rows.device)].flatten(0, 1)


def settle(values: np.ndarray, *, worst_is_high: bool) -> np.ndarray:
    """Scores in which a diverged task counts as the worst of the others; all NaN if most diverged.

    Leaving it out would reward a recipe for diverging on what it finds hard.
    """
    bad = ~np.isfinite(values)
    if not bad.any() or bad.mean() > 0.5:
        return np.full_like(values, np.nan) if bad.any() else values
    worst = np.max(values[~bad]) if worst_is_high else np.min(values[~bad])
    return np.where(bad, worst, values)


def measure(adapter: AnyAdapter, engine: Engine, panel: Panel) -> dict[str, Any]:
    """Judge, and tell the ranking score; to the last digit the same, whatever else runs."""
    with one_thread():
        return ranking_score(judge(adapter, engine, panel), panel)


def ranking_score(verdicts: Verdicts, panel: Panel) -> dict[str, Any]:
    """The score that ranks on a panel, after adaptation and before it, as plain data."""
    first = panel.scores[0]
    name, high_is_worse = first.name, first.direction == "minimize"
    after = settle(verdicts.after[name], worst_is_high=high_is_worse)
    before = settle(verdicts.before[name], worst_is_high=high_is_worse)
    return {
        **summarise(after, panel.tasks),
        "before": summarise(before, panel.tasks),
        "diverged": verdicts.diverged,
    }


def summarise(values: np.ndarray, tasks: Iterable[str]) -> dict[str, Any]:
    """Mean, 95 % interval over tasks, and the values, as plain data."""
    mean, low, high = mean_interval(values)
    per_task = dict(zip(tasks, map(float, values), strict=True))
    return {"mean": mean, "low": low, "high": high, "per_task": per_task}


def _grid(episodes: Episodes, *, before: Batch, after: Batch) -> SampleGrid:
    """The first few tasks and images, of the domain that is generated.

    Of a translator, what it was given stands above what it made of it.
    """
    domain, *others = image_domains(after)
    tasks = len(episodes.tasks)
    sides = [
        by_task(x, tasks)[:SHOWN, :8]
        for x in (episodes.support[domain], before[domain], after[domain])
    ]
    if others:  # support is cycled, so the first translations are of its first images
        given = by_task(episodes.support[others[0]], tasks)[:SHOWN, :8]
        sides = [torch.cat([given[:, : x.shape[1]], x[:, : given.shape[1]]], 3) for x in sides]
    support, old, new = sides
    return SampleGrid(episodes.tasks[:SHOWN], _pixels(support), _pixels(old), _pixels(new))


def _beside_the_truth(adapter: AnyAdapter, engine: Engine, panel: Panel) -> SampleGrid:
    """Query images of the first few tasks, above what they became and what they should become.

    They are adapted to once more for it: translations of query images are no samples.
    """
    few = range(min(SHOWN, len(panel.tasks)))
    episodes = panel.episodes.select(few)
    support, query = episodes.support, episodes.query
    subjects = (_adapted_to(state, engine, panel, few) for state in (adapter.still(), adapter))
    before, after = (translated(subject, query) for subject in subjects)
    to = next(iter(after))
    given = next(domain for domain in query if domain != to)
    shown = ((support, support), (query, before), (query, after), (query, query))
    sides = [
        torch.cat([by_task(x, len(few))[:, :8] for x in (above[given], below[to])], 3)
        for above, below in shown
    ]
    return SampleGrid(panel.tasks[: len(few)], *map(_pixels, sides))


def _pixels(images: Tensor) -> np.ndarray:
    """[t, n, c, h, w] in [-1, 1] to uint8 [t, n, h, w, c]; what is not finite becomes grey."""
    x = torch.nan_to_num(images, nan=0.0).clamp(-1, 1)
    return ((x + 1) * 127.5).round().byte().movedim(2, -1).cpu().numpy()


def to_device(episodes: Episodes, device: str) -> Episodes:
    """The episodes on another device; the same object if they are there already."""
    if device == "cpu":
        return episodes

    # From pinned memory a transfer to a GPU does not hold the host up.
    pins = torch.device(device).type == "cuda"

    def move(batch: Batch) -> Batch:
        return {
            d: (x.pin_memory() if pins else x).to(device, non_blocking=pins)
            for d, x in batch.items()
        }

    parts = move(episodes.support), move(episodes.query), move(episodes.anchor)
    return Episodes(episodes.tasks, *parts, paired=episodes.paired)
