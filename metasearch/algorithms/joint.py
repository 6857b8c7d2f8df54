"""Joint training: forget that there are tasks; fine-tune at test time."""

from __future__ import annotations

from typing import Literal

from metasearch.algorithms.base import (
    MetaGradient,
    MetaStep,
    Reads,
    all_images,
    meta_batch,
    outer_losses,
)
from metasearch.engine.base import InnerLoop
from metasearch.models.base import NoiseSource
from metasearch.registry import component
from metasearch.tasks.base import Episodes

PLAIN = InnerLoop(steps=1, lr=1.0, clip=0.0)  # a step that is the gradient itself


@component
class Joint:
    """Pre-train on all images of all tasks, with the meta-batch as the minibatch.

    The baseline every meta-algorithm must beat: the same images, no inner loop while training,
    the same inner loop at test time.
    """

    name: Literal["joint"] = "joint"
    inner: InnerLoop = InnerLoop()

    @property
    def trains(self) -> bool:
        """It trains, though not to be adapted."""
        return True

    @property
    def reads(self) -> Reads:
        """It has no inner loop."""
        return ""

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """The gradient of each player's mean loss at the meta-parameters themselves."""
        return meta_batch(self._once, step, episodes, noise, inner=self.inner, order=1)

    def _once(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        # One plain step goes the way of each task's gradient, which can then be told from the
        # others'; the mean of the ways is the mean gradient.
        inner = PLAIN if step.sketch else self.inner
        adapted = step.engine.open(step.learner, len(episodes.tasks), inner)
        losses = outer_losses(adapted, all_images(episodes), noise)
        if step.sketch:
            adapted.play(losses)
            found = adapted.displacement(step.weights)
        else:
            found = adapted.meta_gradient(step.weighed(losses), 1)
        return MetaGradient.of(step, adapted, found, losses)
