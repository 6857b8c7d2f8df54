"""A whole search in a few drawings and a text, from the trials that have ended."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from metasearch.drawing.charts import Axis, Curve, Spot, bars, curves
from metasearch.drawing.scene import Scene
from metasearch.observe.base import SearchInfo
from metasearch.observe.importance import influences
from metasearch.observe.rules import rule_curves
from metasearch.observe.space_map import space_map
from metasearch.observe.standing import Ended
from metasearch.observe.text import gist, number, short_paths
from metasearch.observe.trends import best_so_far

SMALL = (520.0, 300.0)


def overview(search: SearchInfo, ended: Sequence[Ended]) -> dict[str, Scene]:
    """Name -> drawing; what there are too few trials for is left out."""
    found = {
        "best so far": history(search, ended),
        "importance": importance(search, ended),
        "parallel coordinates": settings(search, ended),
    }
    told = {name: scene for name, scene in found.items() if scene is not None}
    curves_of = rule_curves(search, ended)
    return told | {f"expected best by rule, {axis}": drawn for axis, drawn in curves_of.items()}


def score_axis(search: SearchInfo) -> str:
    """The score, its unit, and where it is good."""
    unit = f" in {search.unit}" if search.unit else ""
    better = "lower" if search.direction == "minimize" else "higher"
    return f"{search.score}{unit}, {better} is better"


def history(search: SearchInfo, ended: Sequence[Ended]) -> Scene | None:
    """Every trial by when it ended, and the best so far with its interval."""
    best = best_so_far(ended, search.direction)
    if not best:
        return None
    points = [(float(b.ended), b.score, b.low, b.high) for b in best]
    spots = [
        Spot(n, o.score, "grey", o.state != "complete", f"{t.name}: {number(o.score)}, {o.reason}")
        for n, (t, o) in enumerate(ended, 1)
        if o.score is not None
    ]
    marks = curves(
        [Curve("", points, "accent", stepped=True)],
        Axis("trials that ended", low=0.0),
        Axis(score_axis(search)),
        spots=spots,
        lower_is_better=search.direction == "minimize",
        size=SMALL,
    )
    about = f"The best after {len(ended)} trials is {number(best[-1].score)}; rings were stopped."
    return Scene(*SMALL, "Best so far", about, marks)


def importance(search: SearchInfo, ended: Sequence[Ended], most: int = 14) -> Scene | None:
    """The share of the order of trials that each draw explains by itself."""
    found = influences(search.draws, ended, search.direction)[:most]
    if not found:
        return None
    names = short_paths([draw.path for draw in search.draws])
    rows = [
        (
            names[i.path],
            i.share,
            f"{i.share:.0%}, best: {i.best}" if i.settled else "no more than chance",
            "accent" if i.settled else "grey",
        )
        for i in found
    ]
    marks, height = bars(rows)
    settled = [names[i.path] for i in found if i.settled]
    about = f"Settled: {', '.join(settled) or 'none'}."
    return Scene(900, height, "What decides how good a trial is", about, marks)


def settings(search: SearchInfo, ended: Sequence[Ended], most: int = 9) -> Scene | None:
    """Every trial as a line through what it drew; what it does not have is below, unset."""
    title = f"{search.score}, best on top"
    return space_map(search.draws, ended, search.direction, title, most=most)


def failures(ended: Sequence[Ended]) -> str:
    """The failed trials grouped by cause, in Markdown."""
    groups: dict[tuple[str, str], list[Ended]] = defaultdict(list)
    for trial, outcome in ended:
        if outcome.state == "failed":
            groups[outcome.reason, gist(outcome.error)].append((trial, outcome))
    parts = []
    for (reason, cause), alike in sorted(groups.items(), key=lambda item: -len(item[1])):
        names = ", ".join(trial.name for trial, _ in alike[:20])
        lines = "\n".join(alike[0][1].error.strip().splitlines()[-6:])
        more = f" and {len(alike) - 20} more" if len(alike) > 20 else ""
        parts.append(f"**{len(alike)} {reason}**: `{cause}`\n\n{names}{more}\n\n```\n{lines}\n```")
    return "\n\n".join(parts) or "No trial has failed."


class Pictured:
    """Whose pictures are worth their room: those among the best so far, at each step.

    In a large search most trials are never looked at, and TensorBoard reads all it is given.
    """

    def __init__(self, lower_is_better: bool, most: int = 16) -> None:  # noqa: FBT001
        self._sign = 1.0 if lower_is_better else -1.0
        self._most = most
        self._best: dict[int, list[float]] = defaultdict(list)

    def admits(self, step: int, score: float) -> bool:
        """Whether a trial with this score at this step is among them; it counts from then on."""
        value = self._sign * score if math.isfinite(score) else math.inf
        best = self._best[step]
        if len(best) >= self._most and value >= best[-1]:
            return False
        best.append(value)
        best.sort()
        del best[self._most :]
        return True
