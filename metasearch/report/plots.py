"""What a run looks like: each function makes one drawing of a `Story`, or None if it has nothing.

A notebook shows what they return as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from metasearch.drawing.axes import bounds
from metasearch.drawing.charts import Axis, Curve, Row, intervals, scene
from metasearch.drawing.charts import curves as draw_curves
from metasearch.drawing.scene import Scene, series
from metasearch.interval import mean_interval
from metasearch.observe import overview
from metasearch.observe.overview import SMALL
from metasearch.observe.rules import rule_curves
from metasearch.observe.selection import selections
from metasearch.observe.taskmap import scores_by_step, task_map
from metasearch.observe.text import number
from metasearch.observe.trends import expected_best_of
from metasearch.report.comparison import gap, ladder
from metasearch.report.story import Story

FAINT = 200  # trials in the background
BANDS = 3  # curves with their intervals


def curves(story: Story, most: int = 6) -> Scene | None:
    """Scores on unseen tasks over the budget: the best with intervals, the others behind."""
    places = {r.number: i for i, r in enumerate(story.leaders.records[:most])}
    lines, behind = [], []
    for record in story.run.trials:
        points = [(float(r.step), r.score, r.low, r.high) for r in story.reports[record.number]]
        if not points:
            continue
        if record.number in places:
            place = places[record.number]
            if place >= BANDS:  # more of them would hide each other
                points = [(x, y, math.nan, math.nan) for x, y, _, _ in points]
            lines.append((place, Curve(record.info.name, points, series(place), dots=True)))
        else:
            behind.append(Curve("", points, "grey", faint=True))
    if not lines and not behind:
        return None
    best = [line for _, line in sorted(lines, key=lambda pair: -pair[0])]
    x, y = Axis("gradient evaluations", low=0.0), Axis(story.score_title)
    marks = draw_curves([*behind[:FAINT], *best], x, y, lower_is_better=story.sign > 0)
    shown = (
        f"The best {len(best)} in colour, {min(len(best), BANDS)} with intervals; " if best else ""
    )
    about = f"{shown}{len(behind)} other trials in grey."
    return scene(marks, "Learning curves on unseen tasks", about)


def history(story: Story) -> Scene | None:
    """Every trial by when it ended, and the best so far with its interval."""
    return overview.history(story.run.info, story.ended)


def expected(story: Story) -> Scene | None:
    """The best score to be expected of n of these trials, with what nine in ten choices give."""
    found = expected_best_of(story.ended, story.run.info.direction)
    if len(found) < 3:
        return None
    points = [(float(e.trials), e.mean, min(e.low, e.high), max(e.low, e.high)) for e in found]
    low, high = bounds([value for point in points for value in point[1:]])
    x, y = Axis("trials", low=1.0), Axis(story.score_title, low, high)
    line = Curve("", points, "s2")
    marks = draw_curves([line], x, y, lower_is_better=story.sign > 0, size=SMALL)
    half = found[len(found) // 2 - 1]
    about = f"{half.trials} trials would have found {number(half.mean)} on average."
    return scene(marks, "Expected best of n trials", about, SMALL)


def importance(story: Story, most: int = 14) -> Scene | None:
    """The share of the order of trials that each draw explains by itself."""
    return overview.importance(story.run.info, story.ended, most)


def parallel(story: Story, most: int = 9) -> Scene | None:
    """Every trial as a line through what it drew; what a trial does not have is below, unset."""
    return overview.settings(story.run.info, story.ended, most)


def tasks(story: Story, most: int = 10) -> Scene | None:
    """The best trials on each unseen task, the hardest first."""
    told = {f"{r.number:04d}": r.last.per_task for r in story.leaders.records[:most] if r.last}
    return task_map(told, story.run.info.direction, "Unseen tasks and the best trials")


def learning(story: Story, trial: int) -> Scene | None:
    """One trial on each unseen task over its budget."""
    told = scores_by_step([(r.step, r.per_task) for r in story.reports[trial]])
    name = story.trial(trial).info.name
    return task_map(told, story.run.info.direction, f"Unseen tasks over the budget of {name}")


def strategy(story: Story, trial: int) -> dict[str, Scene]:
    """Who was chosen when in one trial, for each axis on which a rule chose."""
    return selections({r.step: r.scalars for r in story.reports[trial]})


def evenness(story: Story, trial: int) -> Scene | None:
    """How evenly the chances of one trial's rules are spread: 1 is uniform, 0 a single arm."""
    lines, ends = [], []
    for i, axis in enumerate(("tasks", "algorithms", "models")):
        tag = f"strategy/{axis}/entropy"
        told = [r for r in story.reports[trial] if tag in r.scalars]
        points = [(float(r.step), abs(r.scalars[tag]), math.nan, math.nan) for r in told]
        if points:
            lines.append(Curve(axis, points, series(i), dots=True))
            effective = told[-1].scalars.get(f"strategy/{axis}/effective", math.nan)
            ends.append(f"{axis} as if {number(effective)} had equal chances")
    if not lines:
        return None
    x, y = Axis("gradient evaluations", low=0.0), Axis("evenness of chances", low=0.0, high=1.0)
    marks = draw_curves(lines, x, y, size=(900.0, 240.0))
    about = f"Entropy, 1 for equal chances. At the end: {', '.join(ends)}."
    return scene(marks, "How evenly the rules choose", about, (900.0, 240.0))


def rules(story: Story) -> Scene | None:
    """What each choice of a strategy scored, over the trials that finished with it."""
    rows = []
    for draw in story.run.info.draws:
        if draw.kind == "choice" and draw.path.startswith("strategy.") and not draw.only_if:
            rows += _options(story, draw.path, [str(option) for option in draw.options])
    if not rows:
        return None
    marks, height = intervals(rows, story.score_title)
    about = "; ".join(f"{row.name}: {row.value}" for row in rows)
    return scene(marks, "Finished trials by their strategy", about, (900.0, height))


def _options(story: Story, path: str, options: Sequence[str]) -> list[Row]:
    rows = []
    for option in options:
        scores = [
            r.outcome.score
            for r in story.leaders.records
            if r.outcome and r.outcome.score is not None and str(r.info.params.get(path)) == option
        ]
        if scores:
            mean, low, high = mean_interval(np.array(scores))
            text = f"{number(mean)} in {len(scores)} trial{'s' * (len(scores) > 1)}"
            name = f"{path.removeprefix('strategy.')}: {option}"
            rows.append(Row(name, mean, low, high, "ink", text))
    return rows


def bought(story: Story) -> list[Scene]:
    """What each rule of a strategy would have found for the same budget, axis by axis."""
    return list(rule_curves(story.run.info, story.ended).values())


PLOTS: Mapping[str, Callable[[Story], Scene | None]] = {
    "ladder": ladder,
    "curves": curves,
    "history": history,
    "expected": expected,
    "importance": importance,
    "parallel": parallel,
    "tasks": tasks,
    "rules": rules,
    "gap": gap,
}
"""Plots of a whole run by name; those of one trial take its number besides."""
