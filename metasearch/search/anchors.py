"""The two ends of a scale: closed-form floors below, real images above."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    config: TrialConfig, bench: Bench, learner: Learner, panels: Mapping[Split, Panel]
) -> dict[str, dict[str, Any]]:
    """Name -> split -> what a floor, or other real images of the same tasks, would score.

    `learner` only says what is generated; none of its images is looked at. Real images have no
    likelihood, so that row is left out where nats are counted, or too few are there to be compared.
    A score of nets or codes has no floor of pixels.
    """
    if config.score.looks_at != "samples" and not config.score.needs_likelihood:
        return {}
    shot, query = config.tasks.shot, config.tasks.query
    floors = {
        "Beta-Bernoulli pixels": beta_bernoulli(bench.data, shot=shot, query=query),
        "pixel marginal": pixel_marginal(bench.data, shot=shot),
    }
    score, in_nats = config.score, config.score.needs_likelihood
    real = not in_nats and config.tasks.anchor >= score.least
    rows: dict[str, dict[str, Any]] = {name: {} for name in (*floors, "real images")}
    for split, panel in panels.items():
        subject = _subject(config, panel, learner)
        for name, floor in floors.items():
            if in_nats:
                values = floor.nll(panel.episodes)
            else:
                drawn = floor.sample(panel.episodes, panel.samples, Stream(0).at("floor", split))
                values = score(subject.posing(drawn))
            rows[name][split] = summarise(values.numpy(), panel.tasks)
        if real:
            rows["real images"][split] = summarise(
                anchor_score(score, subject).numpy(), panel.tasks
            )
    return {name: found for name, found in rows.items() if found}


def _subject(config: TrialConfig, panel: Panel, learner: Learner) -> Subject:
    tasks = panel.tasks
    adapted = config.engine.open(learner, len(tasks), InnerLoop(steps=0))
    noise = noise_per_task(learner.family, Stream(0).at("anchors"), tasks)
    return Subject(adapted, panel.episodes, noise, panel.features, panel.samples)
