"""Teams of tasks that agree on where to go and do not repeat each other."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import at_least, component
from metasearch.selectors.base import (
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
)
from metasearch.selectors.dpp import draw


@component
class Diverse:
    """A determinantal point process whose quality is agreement with the other tasks' gradients.

    ``L_ij = q_i (lam k_ij + (1 - lam) [i = j]) q_j`` with ``q_i = exp(cos_i / (2 tau))``, where
    cos_i is the alignment of a task's latest meta-gradient with the running mean of the others',
    and k_ij the inner product of what the tasks look like. Below a `lam` of 1 any batch size has
    full rank. What is drawn first is a pool, uniformly; the process is exact within it.

    A minority of tasks that pull elsewhere is seldom chosen: `eps` keeps a share of uniform draws.

    Source: Kulesza & Taskar, 2012, section 3.1 (quality and diversity); k-DPPs over tasks as in
    Kumar, Deleu & Bengio, 2022. Differs: quality, and a kernel that does not lose rank.
    """

    kind: ClassVar[Kind] = "cooperative"
    axes: ClassVar[frozenset[Axis]] = frozenset({"tasks"})
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = frozenset({"sketch", "embedding"})

    name: Literal["diverse"] = "diverse"
    tau: float = 0.5  # temperature of agreement
    lam: float = 0.9  # weight of looks; 0: tasks repel each other not at all
    pool: int = 40  # tasks that a batch is chosen from
    surgery: bool = False  # project conflicts out of the gradients of a batch (PCGrad)
    eps: float = 0.1  # share of uniform draws

    def __post_init__(self) -> None:
        """Refuse what leaves no full rank."""
        at_least(self, pool=1)
        if self.tau <= 0 or not 0 <= self.lam < 1 or not 0 <= self.eps <= 1:
            raise ValueError("tau must be above 0, lam at least 0 and below 1, eps from 0 to 1")

    def init(self, arms: Arms) -> State:
        """No gradients yet."""
        looks = np.zeros((arms.n, 0)) if arms.embedding is None else arms.embedding
        return {
            "looks": np.asarray(looks, float),
            "sketch": np.zeros((arms.n, 0)),
            "cos": np.zeros(arms.n),
        }

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """A team from the pool, and some tasks of all."""
        del progress
        n = len(state["cos"])
        k = min(k, n)
        team = int(rng.binomial(k, 1 - self.eps))
        pool = rng.permutation(n)[: max(self.pool, team)]
        first = pool[draw(self._kernel(state, pool), team, rng)] if team else np.empty(0, int)
        rest = np.setdiff1d(np.arange(n), first)
        arms = [*first, *rng.choice(rest, size=k - team, replace=False)]
        quality = np.exp((state["cos"] - state["cos"].max()) / self.tau)
        p = floored(quality / quality.sum(), self.eps)
        return Choice(tuple(map(int, arms)), (1 / k,) * k, p, self.surgery), state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Take in the directions of the tasks that were played, half of each new."""
        if feedback.sketch is None:
            return state
        arms = np.array(choice.arms)
        fresh = feedback.sketch
        sketch = state["sketch"]
        if sketch.shape[1] != fresh.shape[1]:
            sketch = np.zeros((len(sketch), fresh.shape[1]))
        sound = np.isfinite(fresh).all(1)
        arms, fresh = arms[sound], _unit(fresh[sound])
        new = sketch[arms].any(1)[:, None]
        sketch = sketch.copy()
        sketch[arms] = np.where(new, 0.5 * sketch[arms] + 0.5 * fresh, fresh)
        return {**state, "sketch": sketch, "cos": _agreement(sketch)}

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """The task that agrees most; nobody asks."""
        del evidence, rng
        return one_hot(len(state["cos"]), int(state["cos"].argmax()))

    def _kernel(self, state: State, pool: np.ndarray) -> np.ndarray:
        looks, quality = state["looks"][pool], np.exp(state["cos"][pool] / (2 * self.tau))
        alike = looks @ looks.T if looks.shape[1] else np.eye(len(pool))
        mixed = self.lam * alike + (1 - self.lam) * np.eye(len(pool))
        found: np.ndarray = quality[:, None] * mixed * quality
        return found


def _unit(rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


def _agreement(sketch: np.ndarray) -> np.ndarray:
    """Cosine of each row [n, d] with the sum of the others; 0 for rows that were never seen."""
    others = sketch.sum(0) - sketch
    scale = np.linalg.norm(sketch, axis=1) * np.linalg.norm(others, axis=1)
    found: np.ndarray = np.einsum("nd,nd->n", sketch, others) / np.maximum(scale, 1e-12)
    return found
