"""Model-agnostic meta-learning, with and without second derivatives."""

from __future__ import annotations

from typing import Literal

from metasearch.algorithms.base import MetaGradient, MetaStep, Reads, meta_batch
from metasearch.algorithms.bilevel import (
    Bilevel,
    Judge,
    Outer,
    by_discrepancy,
    by_player_losses,
    by_query_critic,
)
from metasearch.engine.base import InnerLoop, Order
from metasearch.models.base import NoiseSource
from metasearch.registry import component
from metasearch.tasks.base import Episodes


@component
class MAML:
    """Differentiate the query loss after adaptation in the weights before it.

    Source: Finn, Abbeel & Levine, "Model-Agnostic Meta-Learning", 2017, algorithm 2 (with
    `first_order`, section 5.2). In a game each player's query loss is differentiated in that
    player's own weights, and others' images are constants of it, so no path runs from one player's
    weights through the other's inner steps; with ``cross_player: through`` all do.

    What the query loss of a game is may be chosen: that of each player; of a generator under a
    critic that adapted to the query (`by_query_critic`); or a distance between images, which is no
    game (`by_discrepancy`).

    With `multi_step`, and `rates: per_step` of the inner loop, MAML++: Antoniou, Edwards & Storkey,
    "How to train your MAML", 2019, section 4. Differs: the share of earlier steps fades evenly over
    the whole budget; there is no batch normalisation to be relearned.
    """

    name: Literal["maml"] = "maml"
    inner: InnerLoop = InnerLoop()
    first_order: bool = False
    multi_step: float = 0.0  # share of the outer loss that earlier inner steps get at the start
    outer: Outer = "player_losses"  # what the players of a game are judged by on the query
    cross_player: Literal["stop", "through"] = "stop"  # derivatives, from player to player

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.multi_step < 1:
            raise ValueError("multi_step must be at least 0 and below 1")

    @property
    def trains(self) -> bool:
        """It meta-trains."""
        return True

    @property
    def reads(self) -> Reads:
        """With first order, the query gradient there, if players judge themselves."""
        plain = self.outer == "player_losses" and self.cross_player == "stop"
        return "query" if plain and self.first_order and not self.multi_step else ""

    def meta_gradient(self, step: MetaStep, episodes: Episodes, noise: NoiseSource) -> MetaGradient:
        """The mean over tasks of d L(phi_K; query) / d theta, or of its value at phi_K."""
        order: Order = 1 if self.first_order else 2
        once = Bilevel(
            self.inner,
            self._judge(),
            order,
            earlier=self.multi_step * (1 - step.progress),
            cross=self.cross_player == "through",
        )
        return meta_batch(once, step, episodes, noise, inner=self.inner, order=order)

    def _judge(self) -> Judge:
        cross = self.cross_player == "through"
        if self.outer == "query_critic":
            return by_query_critic(self.inner)
        return by_discrepancy(cross=cross) if self.outer == "mmd" else by_player_losses(cross=cross)
