"""What no other trial beats in every objective, as a table; and scores against each other."""

from __future__ import annotations

import math

import numpy as np

from metasearch.drawing.charts import Axis, Curve, Spot, curves, scene
from metasearch.drawing.scene import Scene
from metasearch.observe.overview import SMALL
from metasearch.observe.text import briefly, number
from metasearch.report.sections import Cell, Table
from metasearch.report.story import Story, score_of
from metasearch.search.front import front, under, undominated


def front_table(story: Story) -> Table | None:
    """The Pareto front of a search with several objectives, under its bounds."""
    peaks = front(story.run)
    if not peaks:
        return None
    info = story.run.info
    names = (info.score, *info.objectives)
    likes = {name: peaks[0].values[name] for name in names}
    rows = [
        [
            Cell(p.record.info.name, p.record.number),
            *(Cell(number(p.values[n], like=likes[n]), p.values[n], number=True) for n in names),
            Cell(" · ".join(briefly(p.record.info.params))),
        ]
        for p in peaks
    ]
    caption = f"No other trial is better in all of {', '.join(names)}{under(story.run)}"
    return Table(caption, [("trial", False), *((n, True) for n in names), ("drawn", False)], rows)


def tradeoff(story: Story, watched: str) -> Scene | None:
    """The score against one that is watched beside it; the trials that nobody beats in both."""
    about = next((w for w in story.run.info.watched if w.name == watched), None)
    told = [(r, story.leaders.told(r, watched)) for r in story.leaders.records]
    known = [(r, value) for r, value in told if value is not None]
    if about is None or len(known) < 3:
        return None
    sign = 1.0 if about.direction == "minimize" else -1.0
    costs = np.array([[sign * value, story.sign * score_of(r)] for r, value in known])
    best = [known[i] for i in undominated(costs)]
    spots = [Spot(value, score_of(r), "grey", note=r.info.name) for r, value in known]
    points = sorted((value, score_of(r), math.nan, math.nan) for r, value in best)
    better = "lower" if sign > 0 else "higher"
    marks = curves(
        [Curve("", points, "accent", dots=True)],
        Axis(f"{watched} in {about.unit}, {better} is better", low=min(v for _, v in known)),
        Axis(story.score_title),
        spots=spots,
        lower_is_better=story.sign > 0,
        size=SMALL,
    )
    names = ", ".join(r.info.name for r, _ in best)
    return scene(marks, f"{story.run.info.score} and {watched}", f"Beaten by none: {names}.", SMALL)
