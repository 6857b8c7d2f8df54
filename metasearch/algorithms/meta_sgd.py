"""Learn the initialisation and a rate for each weight."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from metasearch.algorithms.base import MetaGradient, MetaStep, Reads, meta_batch
from metasearch.algorithms.bilevel import Bilevel, by_player_losses
from metasearch.engine.base import InnerLoop, Order
from metasearch.models.base import NoiseSource
from metasearch.registry import component
from metasearch.tasks.base import Episodes


@component
class MetaSGD:
    """MAML that also learns how far each weight moves.

    Source: Li, Zhou, Chen & Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017,
    eq. 2 and algorithm 1. Differs: rates are learned as logarithms, so they stay positive; more
    than one inner step is allowed; `inner.rates` may be per tensor or per step instead.
    """

    name: Literal["meta_sgd"] = "meta_sgd"
    inner: InnerLoop = InnerLoop(steps=1, rates="per_parameter")  # `fixed` counts as per parameter
    first_order: bool = False

    def __post_init__(self) -> None:
        """An inner loop written without saying what is learned means a rate per parameter."""
        if self.inner.rates == "fixed":
            object.__setattr__(self, "inner", replace(self.inner, rates="per_parameter"))

    @property
    def trains(self) -> bool:
        """It meta-trains."""
        return True

    @property
    def reads(self) -> Reads:
        """Its rates need more than the end."""
        return ""

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """The mean over tasks of d L(phi_K; query) / d (theta, rates)."""
        order: Order = 1 if self.first_order else 2
        once = Bilevel(self.inner, by_player_losses(), order)
        return meta_batch(once, step, episodes, noise, inner=self.inner, order=order)
