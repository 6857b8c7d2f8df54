"""Who was chosen when: shares of tasks, algorithms and models as areas over the budget."""

from __future__ import annotations

from collections.abc import Mapping

from metasearch.drawing.charts import areas
from metasearch.drawing.scene import Scene

TITLES = {
    "tasks": "Share of draws: tasks, by group",
    "algorithms": "Share of meta-steps: algorithms",
    "models": "Share of meta-steps: models",
}


def selections(told: Mapping[int, Mapping[str, float]], width: float = 900.0) -> dict[str, Scene]:
    """One drawing for each axis on which a rule chose, from the scalars of reports by step."""
    found = {}
    for axis, title in TITLES.items():
        shares = shares_of(told, axis)
        if shares:
            marks, height = areas(shares, "gradient evaluations", width=width)
            last = list(shares.values())[-1]
            most = max(last, key=lambda name: last[name])
            arms, of = ("groups of tasks", "draws") if axis == "tasks" else (axis, "meta-steps")
            about = f"{len(last)} {arms}; at the end {most} has {last[most]:.0%} of the {of}."
            found[axis] = Scene(width, height, title, about, marks)
    return found


def shares_of(told: Mapping[int, Mapping[str, float]], axis: str) -> dict[float, dict[str, float]]:
    """Step -> arm -> its share of the draws since the step before; of reports that tell it."""
    prefix = f"strategy/{axis}/share/"
    found = {}
    for step in sorted(told):
        shares = {k.removeprefix(prefix): v for k, v in told[step].items() if k.startswith(prefix)}
        if shares:
            found[float(step)] = shares
    return found
