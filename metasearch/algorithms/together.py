"""Several algorithms on one meta-batch, without running the same inner loop twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metasearch.algorithms.base import (
    MetaAlgorithm,
    MetaGradient,
    MetaStep,
    inner_losses,
    outer_losses,
)
from metasearch.engine.memory import tasks_at_once
from metasearch.models.base import NoiseSource
from metasearch.models.conditions import conditioned
from metasearch.tasks.base import Episodes


def together(
    algorithms: Sequence[MetaAlgorithm],
    steps: Sequence[MetaStep],
    episodes: Episodes,
    noise: NoiseSource,
) -> list[MetaGradient]:
    """What each algorithm finds on the same episodes.

    First-order MAML and Reptile with one inner loop are read off one trajectory: the gradient at
    its end and the way there. The first pays for it, the others for what they add. Reptile then
    sees the support alone, whereas by itself it learns from the query too.
    """
    found: dict[int, MetaGradient] = {}
    for i, algorithm in enumerate(algorithms):
        if i in found:
            continue
        same = [
            j
            for j in range(i, len(algorithms))
            if algorithm.reads and algorithms[j].reads and algorithms[j].inner == algorithm.inner
        ]
        shared = {} if len(same) < 2 else _read_off(algorithms, steps[i], episodes, noise, same)
        found |= shared or {i: algorithm.meta_gradient(steps[i], episodes, noise)}
    return [found[i] for i in range(len(algorithms))]


def _read_off(
    algorithms: Sequence[MetaAlgorithm],
    step: MetaStep,
    episodes: Episodes,
    noise: NoiseSource,
    arms: Sequence[int],
) -> dict[int, MetaGradient]:
    """One trajectory for all `arms`; empty where it must be run in parts, or diverged."""
    inner, tasks = algorithms[arms[0]].inner, len(episodes.tasks)
    episodes = conditioned(step.learner.family, episodes, progress=step.progress)
    limit = step.engine.memory_mb * 2**20
    if step.rates or tasks_at_once(step.learner, inner, 1, episodes.support, tasks, limit) < tasks:
        return {}
    adapted = step.engine.open(step.learner, tasks, inner)
    losses = inner_losses(adapted, inner, episodes.support, noise)
    found: dict[int, MetaGradient] = {}
    paid = 0
    for i in arms:
        if algorithms[i].reads == "displacement":
            gradient = adapted.displacement(step.weights)
        else:
            losses = outer_losses(adapted, episodes.query, noise)
            gradient = adapted.meta_gradient(step.weighed(losses), 1)
        mine = MetaGradient.of(step, adapted, gradient, losses)
        found[i] = replace(mine, gradients=adapted.gradients - paid)
        paid = adapted.gradients
    sound = all(bool(x.finite.all()) for x in found.values())
    finite = all(bool(g.isfinite().all()) for x in found.values() for g in x.values.values())
    return found if sound and finite else {}
