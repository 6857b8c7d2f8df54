"""No meta-learning: a fresh network is trained on the few images alone."""

from __future__ import annotations

from typing import Literal

import torch

from metasearch.algorithms.base import MetaGradient, MetaStep, Reads
from metasearch.engine.base import InnerLoop, TaskGradients
from metasearch.models.base import NoiseSource
from metasearch.registry import component
from metasearch.tasks.base import Episodes


@component
class Scratch:
    """The floor of all recipes: adapt from the random initialisation."""

    name: Literal["scratch"] = "scratch"
    inner: InnerLoop = InnerLoop()

    @property
    def trains(self) -> bool:
        """There is nothing to meta-train."""
        return False

    @property
    def reads(self) -> Reads:
        """It has no gradient."""
        return ""

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """Zero: the initialisation stays as it is, and nothing is spent."""
        del noise
        tasks = len(episodes.tasks)
        adapted = step.engine.open(step.learner, tasks, self.inner)
        zero = {name: torch.zeros_like(p) for name, p in step.learner.parameters().items()}
        found = TaskGradients(zero, torch.ones(tasks, dtype=torch.bool))
        return MetaGradient.of(step, adapted, found, {})
