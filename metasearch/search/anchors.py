"""The two ends of a scale: closed-form floors below, real images above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from metasearch.engine.base import InnerLoop
from metasearch.models.base import Learner, noise_per_task
from metasearch.rng import Stream
from metasearch.scores.base import Subject, anchor_score
from metasearch.scores.floors import beta_bernoulli, pixel_marginal
from metasearch.tasks.base import Split
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import Panel, summarise
from metasearch.trial.loop import Bench


def anchors_of(
    config: TrialConfig, bench: Bench, learner: Learner, splits: Sequence[Split]
) -> dict[str, dict[str, Any]]:
    """Name -> split -> what a floor, or other real images of the same tasks, would score.

    `learner` only says what is generated; none of its images is looked at. Real images have no
    likelihood, so that row is left out where nats are counted.
    """
    shot, query = config.tasks.shot, config.tasks.query
    floors = {
        "Beta-Bernoulli pixels": beta_bernoulli(bench.data, shot=shot, query=query),
        "pixel marginal": pixel_marginal(bench.data, shot=shot),
    }
    rows: dict[str, dict[str, Any]] = {name: {} for name in (*floors, "real images")}
    for split in splits:
        panel = Panel.gather(config, bench.data, bench.features, split, "cpu")
        subject = _subject(config, panel, learner)
        for name, floor in floors.items():
            if config.score.needs_likelihood:
                values = floor.nll(panel.episodes)
            else:
                drawn = floor.sample(panel.episodes, panel.samples, Stream(0).at("floor", split))
                values = config.score(subject.posing(drawn))
            rows[name][split] = summarise(_array(values), panel.tasks)
        if not config.score.needs_likelihood:
            values = anchor_score(config.score, subject)
            rows["real images"][split] = summarise(_array(values), panel.tasks)
    return {name: found for name, found in rows.items() if found}


def _subject(config: TrialConfig, panel: Panel, learner: Learner) -> Subject:
    tasks = panel.tasks
    adapted = config.engine.open(learner, len(tasks), InnerLoop(steps=0))
    noise = noise_per_task(learner.family, Stream(0).at("anchors"), tasks)
    return Subject(adapted, panel.episodes, noise, panel.features, panel.samples)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()
