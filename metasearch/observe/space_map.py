"""Every trial as a line through what it drew: parallel coordinates of a conditional space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from metasearch.drawing.axes import Scale, robust_bounds, tick_texts
from metasearch.drawing.parallel import Lane, Thread, parallel
from metasearch.drawing.scene import Scene
from metasearch.observe.base import Draw
from metasearch.observe.importance import influences, standing_order
from metasearch.observe.standing import Direction, Ended
from metasearch.observe.text import number, short_paths

MOST = 300  # trials that are drawn, the best first
FRONT = 0.1  # of the trials that finished are drawn in colour


def space_map(
    draws: Sequence[Draw],
    ended: Sequence[Ended],
    direction: Direction,
    title: str,
    *,
    most: int = 9,
) -> Scene | None:
    """Lanes for the draws that tell most, and the score; a trial without a draw passes below."""
    order = standing_order(ended, direction)[:MOST]
    scored = [o.score for _, o in order if o.score is not None and math.isfinite(o.score)]
    if not draws or len(scored) < 2:
        return None
    chosen = _telling(draws, ended, direction, most)
    low, high = robust_bounds(scored, lower_is_better=direction == "minimize")
    ends = (1.0, 0.0) if direction == "minimize" else (0.0, 1.0)
    scale = Scale(low, high, *ends)
    ticks = scale.ticks()
    last = Lane(title, [(scale.at(t), s) for t, s in zip(ticks, tick_texts(ticks), strict=True)])
    names = short_paths([draw.path for draw in draws])
    lanes = [*(_lane(draw, names[draw.path]) for draw in chosen), last]
    finished = sum(o.state == "complete" for _, o in order)
    front = max(1, round(FRONT * finished))
    threads = [
        _thread(i, pair, chosen, scale, front=i < front and pair[1].state == "complete")
        for i, pair in enumerate(order)
    ]
    marks, width, height = parallel(lanes, list(reversed(threads)))
    best = ", ".join(f"{path} {_word(v)}" for path, v in order[0][0].params.items())
    about = f"{len(order)} trials, the best in colour. The first: {best}."
    return Scene(width, height, "What trials drew, and how they scored", about, marks)


def _telling(
    draws: Sequence[Draw], ended: Sequence[Ended], direction: Direction, most: int
) -> list[Draw]:
    """The draws to show, in the order of the file: those above others and those that decide."""
    if len(draws) <= most:
        return list(draws)
    ranks = {i.path: n for n, i in enumerate(influences(draws, ended, direction))}
    above = {path for draw in draws for path, _ in draw.only_if}
    ranked = sorted(draws, key=lambda d: (d.path not in above, ranks.get(d.path, len(draws))))
    kept = {draw.path for draw in ranked[:most]}
    return [draw for draw in draws if draw.path in kept]


def _lane(draw: Draw, name: str) -> Lane:
    if draw.kind == "choice":
        count = len(draw.options)
        ticks = [((i + 0.5) / count, _word(option)) for i, option in enumerate(draw.options)]
        return Lane(name, ticks, conditional=bool(draw.only_if))
    scale = _scale(draw)
    values = scale.ticks(4)
    texts = tick_texts(values)
    ticks = [(scale.at(v), text) for v, text in zip(values, texts, strict=True)]
    return Lane(name, ticks, conditional=bool(draw.only_if))


def _scale(draw: Draw) -> Scale:
    assert draw.low is not None  # the grammar gives a number both bounds
    assert draw.high is not None
    return Scale(draw.low, draw.high, 0.0, 1.0, log=draw.kind.startswith("log"))


def _thread(i: int, pair: Ended, draws: Sequence[Draw], scale: Scale, *, front: bool) -> Thread:
    trial, outcome = pair
    shift = ((i * 0.618034) % 1 - 0.5) * 0.5  # trials with the same option fan out beside it
    places = [_place(draw, trial.params, shift) for draw in draws]
    finite = outcome.score is not None and math.isfinite(outcome.score)
    worst = 0.0
    places.append(scale.at(outcome.score) if finite and outcome.score is not None else worst)
    told = number(outcome.score) if finite else outcome.reason
    note = f"{trial.name}: {told}"
    if front:
        return Thread(places, "accent", 0.95 if i == 0 else 0.6, 2.4 if i == 0 else 1.6, note)
    complete = outcome.state == "complete"
    return Thread(places, "soft" if complete else "grey", 0.4 if complete else 0.3, 1.0, note)


def _place(draw: Draw, params: Mapping[str, Any], shift: float) -> float | None:
    if draw.path not in params:
        return None
    value = params[draw.path]
    if draw.kind != "choice":
        return _scale(draw).at(float(value))
    words = [_word(option) for option in draw.options]
    return (words.index(_word(value)) + 0.5 + shift) / len(words) if _word(value) in words else None


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
