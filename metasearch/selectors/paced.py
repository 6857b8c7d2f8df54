"""Self-paced learning: tasks that go along with what is learned so far; the others wait."""

from __future__ import annotations

from math import ceil
from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import component
from metasearch.selectors.base import (
    NOTHING,
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


@component
class Paced:
    """Even draws from the share of tasks whose loss is lowest; `eps` looks at the others.

    Parameters that all tasks share fit those first that agree, so a task that stays hard either
    pulls elsewhere or teaches nothing. The opposite of `dro`: right where tasks are spoiled, wrong
    where the hard ones are what will be asked.

    Source: Kumar, Packer & Koller, "Self-Paced Learning for Latent Variable Models", 2010; that
    the share shrinks from all to `keep` as in Han et al., "Co-teaching", 2018, algorithm 1.
    Differs: whole tasks are left out, by their loss or by what it exceeds a closed-form model by.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tasks"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = NOTHING

    name: Literal["paced"] = "paced"
    keep: float = 0.6  # share of the tasks that is left in the end
    by: Literal["loss", "excess"] = "loss"  # a model of pixels fits noise, too: its excess is small
    warmup: float = 0.3  # share of the budget in which it shrinks to that
    eps: float = 0.1  # share of uniform draws

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if not 0 < self.keep <= 1 or not 0 <= self.warmup <= 1 or not 0 <= self.eps <= 1:
            raise ValueError("keep must be above 0 and at most 1, warmup and eps from 0 to 1")

    def init(self, arms: Arms) -> State:
        """Nothing was seen."""
        return {"score": np.full(arms.n, np.nan), "mean": np.full(1, np.nan)}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """Of those that were never seen, as long as there are enough; then of the easiest."""
        p = self._chances(state, k, progress)
        arms = without_replacement(p, k, rng)
        return Choice(arms, (1 / len(arms),) * len(arms), p), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Remember how each did against the running mean, which falls while all get better."""
        loss = (feedback.after if self.by == "loss" else feedback.excess).mean(1)
        sound = np.isfinite(loss)
        if not sound.any():
            return state
        now, mean = loss[sound].mean(), state["mean"][0]
        mean = now if np.isnan(mean) else mean + 0.1 * (now - mean)
        score = state["score"].copy()
        score[list(choice.arms)] = np.where(sound, loss - mean, np.inf)
        return {"score": score, "mean": np.array([mean])}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The easiest task; nobody asks."""
        del evidence, rng
        return one_hot(len(state["score"]), int(self._chances(state, 1, 1.0).argmax()))

    def _chances(self, state: State, k: int, progress: float) -> np.ndarray:
        score = state["score"]
        unseen = np.isnan(score)
        if unseen.sum() >= k:
            return floored(unseen / unseen.sum(), self.eps)
        pace = min(progress / self.warmup, 1.0) if self.warmup else 1.0
        share = 1 - (1 - self.keep) * pace
        kept = np.argsort(np.where(unseen, -np.inf, score), kind="stable")
        kept = kept[: max(ceil(share * len(score)), k)]
        p = np.zeros(len(score))
        p[kept] = 1 / len(kept)
        return floored(p, self.eps)
