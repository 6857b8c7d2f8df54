"""A meta-algorithm: Reptile by the signs of its displacement."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import metasearch
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
from metasearch.tasks.base import Episodes


@metasearch.component
class SignReptile:
    """Of the displacement of the inner loop, every weight's sign alone counts."""

    name: Literal["sign_reptile"] = "sign_reptile"
    inner: InnerLoop = InnerLoop()

    @property
    def trains(self) -> bool:
        """It meta-trains."""
        return True

    @property
    def reads(self) -> Reads:
        """The way there."""
        return "displacement"

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """The sign of theta - mean_i phi_i."""
        found = meta_batch(_once(self.inner), step, episodes, noise, inner=self.inner, order=1)
        return replace(found, values={name: x.sign() for name, x in found.values.items()})


def _once(inner: InnerLoop):  # noqa: ANN202 - what `meta_batch` takes
    def once(step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        adapted = step.engine.open(step.learner, len(episodes.tasks), inner)
        losses = inner_losses(adapted, inner, all_images(episodes), noise)
        return MetaGradient.of(step, adapted, adapted.displacement(step.weights), losses)

    return once
