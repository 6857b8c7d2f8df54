"""Almost no inner loop: only the head adapts."""

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
class ANIL:
    """MAML whose inner loop moves the last layer of each net, while all of it is meta-learned.

    Source: Raghu et al., "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness
    of MAML", 2020, section 4. Differs: `inner.adapts` may name another part, such as the decoder.
    """

    name: Literal["anil"] = "anil"
    inner: InnerLoop = InnerLoop(adapts="head")  # `adapts: all` counts as the head
    first_order: bool = True

    def __post_init__(self) -> None:
        """An inner loop written without saying what adapts means the head."""
        if self.inner.adapts == "all":
            object.__setattr__(self, "inner", replace(self.inner, adapts="head"))

    @property
    def trains(self) -> bool:
        """It meta-trains."""
        return True

    @property
    def reads(self) -> Reads:
        """With first order, the query gradient there."""
        return "query" if self.first_order else ""

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """The mean over tasks of d L(phi_K; query) / d theta, or of its value at phi_K."""
        order: Order = 1 if self.first_order else 2
        once = Bilevel(self.inner, by_player_losses(), order)
        return meta_batch(once, step, episodes, noise, inner=self.inner, order=order)
