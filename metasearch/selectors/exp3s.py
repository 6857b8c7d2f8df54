"""A bandit on learning progress: arms compete by what a gradient evaluation of theirs buys."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import at_least, component
from metasearch.selectors.base import (
    ALL,
    Arms,
    Axis,
    Choice,
    Evidence,
    Feedback,
    Kind,
    Need,
    Play,
    State,
    floored,
    one_hot,
    without_replacement,
)
from metasearch.selectors.paired import means


@component
class Exp3S:
    """Exp3.S on the fall of the loss per cost, brought to [-1, 1] by its running quantiles.

    Source: Auer et al., "The Nonstochastic Multiarmed Bandit Problem", 2002, section 8; progress
    as reward, its quantiles and the share step as in Graves et al., "Automated Curriculum Learning
    for Neural Networks", 2017, section 2.
    """

    kind: ClassVar[Kind] = "competitive"
    axes: ClassVar[frozenset[Axis]] = ALL
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"before", "validation"})

    name: Literal["exp3s"] = "exp3s"
    eta: float = 0.1  # step of the weights
    alpha: float = 0.002  # share of each weight that is handed to the others at every turn
    window: int = 200  # rewards that the quantiles are of
    eps: float = 0.1  # share of uniform draws

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        at_least(self, window=2, eta=0)
        if not 0 <= self.alpha < 1 or not 0 <= self.eps <= 1:
            raise ValueError("alpha must be at least 0 and below 1, eps from 0 to 1")

    def init(self, arms: Arms) -> State:
        """All arms alike."""
        return {"log_w": np.zeros(arms.n), "rewards": np.empty(0)}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """By weight."""
        del progress
        p = self._chances(state)
        arms = without_replacement(p, k, rng)
        return Choice(arms, (1 / len(arms),) * len(arms), p), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Reward the arms that were drawn by their progress, over the chance they had."""
        gain = (feedback.before - feedback.after).mean(1) / np.maximum(feedback.cost, 1e-12)
        sound = np.isfinite(gain)
        rewards = np.concatenate([state["rewards"], gain[sound]])[-self.window :]
        if not sound.any():
            return state
        log_w, n = state["log_w"].copy(), len(state["log_w"])
        arms = np.array(choice.arms)[sound]
        p = self._chances(state)[arms]
        log_w[arms] += self.eta * scaled(gain[sound], rewards) / (p * n)
        log_w -= np.logaddexp.reduce(log_w)
        shared = (1 - self.alpha) * np.exp(log_w) + self.alpha / n
        return {"log_w": np.log(shared), "rewards": rewards}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The arm that is best on the `inner` tasks; without evidence, the likeliest."""
        del rng
        p = self._chances(state)
        best = int(p.argmax())
        if evidence is not None and np.isfinite(means(evidence.losses)).any():
            best = int(means(evidence.losses).argmin())
        return one_hot(len(p), best)

    def _chances(self, state: State) -> np.ndarray:
        w = np.exp(state["log_w"] - state["log_w"].max())
        return floored(w / w.sum(), self.eps)


def scaled(gain: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Rewards in [-1, 1]: the 20 % quantile of recent ones is -1, the 80 % quantile is 1."""
    low, high = np.quantile(rewards, [0.2, 0.8])
    if high <= low:
        return np.sign(gain - low)
    found: np.ndarray = np.clip(2 * (gain - low) / (high - low) - 1, -1, 1)
    return found
