"""Random selection: every arm the same chance, in one of three orders."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from metasearch.registry import component
from metasearch.selectors.base import (
    ALL,
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
    one_hot,
)


@component
class Random:
    """Uniform without replacement within a draw.

    `iid` draws anew each time; `epoch` permutes all arms and goes through them before any comes
    again (the habit of supervised training); `stratified` draws a group first, then an arm of it,
    so that large groups do not drown small ones.
    """

    kind: ClassVar[Kind] = "random"
    axes: ClassVar[frozenset[Axis]] = ALL
    play: ClassVar[Play] = "one"
    needs: ClassVar[frozenset[Need]] = NOTHING

    name: Literal["random"] = "random"
    order: Literal["iid", "epoch", "stratified"] = "epoch"

    def init(self, arms: Arms) -> State:
        """Nothing is waiting; without groups every arm is a group of its own."""
        groups = np.arange(arms.n) if arms.groups is None else np.asarray(arms.groups)
        return {"groups": groups.astype(np.int64), "waiting": np.empty(0, dtype=np.int64)}

    def choose(
        self, state: State, k: int, rng: np.random.Generator, progress: float = 0.0
    ) -> tuple[Choice, State]:
        """Pick `k` different arms (all of them if there are fewer)."""
        del progress
        n = len(state["groups"])
        k = min(k, n)
        if self.order == "epoch":
            arms, waiting = _next_in_epoch(state["waiting"], n, k, rng)
            state = {**state, "waiting": waiting}
        elif self.order == "stratified":
            arms = _stratified(state["groups"], k, rng)
        else:
            arms = rng.choice(n, size=k, replace=False)
        choice = Choice(tuple(map(int, arms)), (1 / k,) * k, self._chances(state["groups"]))
        return choice, state

    def update(self, state: State, choice: Choice, feedback: Feedback) -> State:
        """Learns nothing."""
        del choice, feedback
        return state

    def final(
        self, state: State, evidence: Evidence | None, rng: np.random.Generator
    ) -> np.ndarray:
        """One arm, uniformly drawn, so that the score's expectation is the mean over arms."""
        del evidence
        n = len(state["groups"])
        return one_hot(n, int(rng.integers(n)))

    def _chances(self, groups: np.ndarray) -> np.ndarray:
        if self.order != "stratified":
            return np.full(len(groups), 1 / len(groups))
        _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        return 1 / (len(sizes) * sizes[index])


def _next_in_epoch(
    waiting: np.ndarray, n: int, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The next `k` of the running permutation; a new one begins where the old one ends."""
    if len(waiting) >= k:
        return waiting[:k], waiting[k:]
    fresh = rng.permutation(n)
    # What the old epoch still owes comes first; the new one must not repeat it in this draw.
    later = np.isin(fresh, waiting)
    fresh = np.concatenate([fresh[~later], fresh[later]])
    need = k - len(waiting)
    return np.concatenate([waiting, fresh[:need]]), fresh[need:]


def _stratified(groups: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Group by group at random, an unused arm of each; a group that is used up is left out."""
    members = {
        int(g): list(rng.permutation(np.flatnonzero(groups == g))) for g in np.unique(groups)
    }
    arms: list[int] = []
    while len(arms) < k:
        left = [g for g, own in members.items() if own]
        arms.append(members[left[int(rng.integers(len(left)))]].pop())
    return np.asarray(arms, dtype=np.int64)
