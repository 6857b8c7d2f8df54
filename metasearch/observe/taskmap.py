"""The same unseen tasks in one picture: which are hard, and for whom or since when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from metasearch.drawing.axes import tick_texts
from metasearch.drawing.parallel import heat
from metasearch.drawing.scene import Scene
from metasearch.observe.standing import Direction
from metasearch.observe.text import number

MOST = 80  # tasks that are shown: the hardest and the easiest of them


def task_map(
    told: Mapping[str, Mapping[str, float]],
    direction: Direction,
    title: str,
    ends: tuple[float, float] | None = None,
) -> Scene | None:
    """A column for each of `told`, a row for each task, hard ones first; full colour is good.

    `ends` are a poor and a good score; without them, of what is shown.
    """
    names = list(dict.fromkeys(task for scores in told.values() for task in scores))
    if not told or not names:
        return None
    values = np.array([[s.get(name, math.nan) for s in told.values()] for name in names])
    sign = 1.0 if direction == "minimize" else -1.0
    known = np.where(np.isfinite(values), values, sign * 1e300)
    order = np.argsort(-sign * known[:, -1], kind="stable")
    if len(order) > MOST:
        order = np.concatenate([order[: MOST // 2], order[-MOST // 2 :]])
    poor, good = ends or _ends(values, sign)
    marks, width, height = heat(
        [names[i] for i in order],
        list(told),
        values[order].tolist(),
        (poor, good),
        texts=(number(poor, like=good), f"{number(good)}, better"),
    )
    hardest, easiest = names[order[0]], names[order[-1]]
    about = f"{len(names)} unseen tasks; the hardest is {hardest}, the easiest {easiest}."
    return Scene(width, height, title, about, marks)


def _ends(values: np.ndarray, sign: float) -> tuple[float, float]:
    """The scores between which all but the outermost lie."""
    kept = values[np.isfinite(values)]
    if not kept.size:
        return 0.0, 1.0
    low, high = (float(q) for q in np.quantile(kept, [0.03, 0.97]))
    return (high, low) if sign > 0 else (low, high)


def scores_by_step(
    reports: Sequence[tuple[int, Mapping[str, float]]],
) -> dict[str, Mapping[str, float]]:
    """Reports (step, scores of tasks) as columns of `task_map`."""
    return {_short(step): scores for step, scores in reports}


def _short(step: int) -> str:
    return tick_texts([float(step)])[0] if step >= 10_000 else f"{step:,}"
