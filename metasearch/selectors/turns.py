"""What rules for models share: turns that are even in cost, and the latest losses of all."""

from __future__ import annotations

import numpy as np

from metasearch.selectors.base import Arms, Choice, Feedback, State


def even_start(arms: Arms) -> dict[str, np.ndarray]:
    """Nobody played, nobody was measured; `groups` tells which arms are alike."""
    groups = np.zeros(arms.n) if arms.groups is None else arms.groups
    return {
        "spent": np.zeros(arms.n),
        "turns": np.zeros(arms.n, dtype=np.int64),
        "losses": np.full((arms.n, 1), np.nan),
        "groups": np.asarray(groups).astype(np.int64),
    }


def least_spent(state: State, playing: np.ndarray, rng: np.random.Generator) -> Choice:
    """Of those `playing` [n], the one that spent least; ties are drawn."""
    spent = np.where(playing > 0, state["spent"], np.inf)
    first = np.flatnonzero(spent == spent.min())
    arm = int(first[rng.integers(len(first))])
    return Choice((arm,), (1.0,), playing / playing.sum())


def noted(state: State, choice: Choice, feedback: Feedback) -> dict[str, np.ndarray]:
    """With the turn's cost and losses written down."""
    spent, turns, losses = (state[key].copy() for key in ("spent", "turns", "losses"))
    if losses.shape[1] != feedback.after.shape[1]:
        losses = np.full((len(losses), feedback.after.shape[1]), np.nan)
    arms = list(choice.arms)
    spent[arms] += feedback.cost
    turns[arms] += 1
    losses[arms] = feedback.after
    return {**state, "spent": spent, "turns": turns, "losses": losses}
