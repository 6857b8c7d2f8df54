"""Reptile: move towards where adaptation ends."""

from __future__ import annotations

from typing import Literal

from metasearch.algorithms.base import (
    MetaGradient,
    MetaStep,
    Reads,
    all_images,
    inner_losses,
    meta_batch,
)
from metasearch.engine.base import InnerLoop
from metasearch.models.base import NoiseSource
from metasearch.registry import component
from metasearch.tasks.base import Episodes


@component
class Reptile:
    """The meta-gradient is the mean displacement of the inner loop.

    Source: Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018,
    algorithm 2. Differs: the displacement is handed to the outer Adam instead of a fixed step
    (as FIGR does), and each inner step sees all images of the episode, since no query is needed;
    with ``images: support`` as many as on unseen tasks.
    """

    name: Literal["reptile"] = "reptile"
    inner: InnerLoop = InnerLoop()
    images: Literal["all", "support"] = "all"  # of an episode, that an inner step sees

    @property
    def trains(self) -> bool:
        """It meta-trains."""
        return True

    @property
    def reads(self) -> Reads:
        """The way there."""
        return "displacement"

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """Return theta - mean_i phi_i after the inner steps."""
        return meta_batch(self._once, step, episodes, noise, inner=self.inner, order=1)

    def _once(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        adapted = step.engine.open(step.learner, len(episodes.tasks), self.inner)
        images = all_images(episodes) if self.images == "all" else episodes.support
        losses = inner_losses(adapted, self.inner, images, noise)
        return MetaGradient.of(step, adapted, adapted.displacement(step.weights), losses)
