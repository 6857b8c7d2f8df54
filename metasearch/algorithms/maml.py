"""Model-agnostic meta-learning, with and without second derivatives."""

from __future__ import annotations

from typing import Literal

from metasearch.algorithms.base import MetaGradient, adapt, outer_losses, without_diverged
from metasearch.engine.base import Engine, InnerLoop, Order
from metasearch.models.base import Learner, NoiseSource
from metasearch.registry import component
from metasearch.tasks.base import Episodes


@component
class MAML:
    """Differentiate the query loss after adaptation in the weights before it.

    Source: Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning", 2017, algorithm 2 (with
    `first_order`, section 5.2). In a game each player's query loss is differentiated in that
    player's own weights; the discriminator sees fakes as constants in every inner step, so no
    path runs from one player's weights through the other's inner steps.
    """

    name: Literal["maml"] = "maml"
    inner: InnerLoop = InnerLoop()
    first_order: bool = False

    @property
    def trains(self) -> bool:
        """It meta-trains."""
        return True

    def meta_gradient(
        self, engine: Engine, learner: Learner, episodes: Episodes, noise: NoiseSource
    ) -> MetaGradient:
        """The mean over tasks of d L(phi_K; query) / d theta, or of its value at phi_K."""
        return without_diverged(self._once, engine, learner, episodes, noise)

    def _once(
        self, engine: Engine, learner: Learner, episodes: Episodes, noise: NoiseSource
    ) -> MetaGradient:
        order: Order = 1 if self.first_order else 2
        tasks = len(episodes.tasks)
        adapted = adapt(engine, learner, self.inner, episodes.support, tasks, noise, order=order)
        losses = outer_losses(adapted, episodes.query, noise)
        return MetaGradient.of(adapted, adapted.meta_gradient(losses, order), losses)
