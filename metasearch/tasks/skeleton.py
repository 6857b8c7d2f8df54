"""From ink to pen strokes: thin a picture to lines one pixel wide, and trace them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from math import dist

import numpy as np

Pixel = tuple[int, int]  # row, column
Path = list[Pixel]

_AROUND: Sequence[Pixel] = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
_SPUR = 1.5  # a free end no longer than so many half widths of the ink is a corner of it
_BRIDGE = 1.0  # two crossings no further apart than so many half widths are one
_STRAIGHT = 0.4  # two lines go on as one across a crossing if the cosine of the bend exceeds this
_REACH = 2.0  # half widths from a crossing at which the direction of a line is taken
_SMOOTHING = 6  # rounds of averaging each point with its neighbours


def thin(inks: np.ndarray) -> np.ndarray:
    """Lines one pixel wide in the middle of the ink of each picture, bool [n, h, w].

    Source: Guo & Hall, "Parallel Thinning with Two-Subiteration Algorithms", CACM 32(3), 1989,
    algorithm A1. Ink must not touch the border.
    """
    padded = np.pad(inks, ((0, 0), (1, 1), (1, 1))).view(np.uint8)
    flat, row = padded.reshape(-1), padded.shape[2]
    live = np.flatnonzero(flat)
    before = -1
    while len(live) != before:
        before = len(live)
        for table in _TABLES:
            code = np.zeros(len(live), np.uint8)
            for bit, (i, j) in enumerate(_AROUND):
                code |= flat[live + (i * row + j)] << bit
            gone = table[code]
            flat[live[gone]] = 0
            live = live[~gone]
    return padded[:, 1:-1, 1:-1].astype(bool)


def _removable(second: bool) -> np.ndarray:  # noqa: FBT001 - of two subiterations
    """For each byte of neighbours, whether a subiteration takes the pixel away."""
    p = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(bool)
    north, _, east, _, south, _, west, _ = p.T
    crossings = sum(~p[:, i] & (p[:, (i + 1) % 8] | p[:, (i + 2) % 8]) for i in (0, 2, 4, 6))
    one = sum((p[:, (i - 1) % 8] | p[:, i]).astype(int) for i in (0, 2, 4, 6))
    two = sum((p[:, i] | p[:, (i + 1) % 8]).astype(int) for i in (0, 2, 4, 6))
    least = np.minimum(one, two)
    ne, se, sw, nw = p[:, 1], p[:, 3], p[:, 5], p[:, 7]
    side = (south | sw | ~nw) & west if second else (north | ne | ~se) & east
    found: np.ndarray = (crossings == 1) & (least >= 2) & (least <= 3) & ~side
    return found


_TABLES = (_removable(second=False), _removable(second=True))


def trace(lines: np.ndarray, width: np.ndarray) -> list[np.ndarray]:
    """The strokes of one thinned picture: paths [points, 2] as row, column.

    At a crossing lines go on as straight as they can. A stroke runs from its upper left end; loops
    start at the top; strokes come in the order of their starts, from the upper left.

    Args:
        lines: what `thin` made, bool [h, w].
        width: half the width of the ink around each of its pixels, [h, w].
    """
    runs = list(_runs(_links(lines)))
    centre = _crossings(runs, width)
    kept = _without_spurs([r for r in runs if not _within(r, centre)], centre, width)
    strokes = [_directed(path) for path in _joined(kept, centre, width)]
    return sorted(strokes, key=lambda path: _place(path[0]))


def _links(lines: np.ndarray) -> dict[Pixel, list[Pixel]]:
    """Which pixels of the lines follow on each other; no diagonal where a way around is as near."""
    pixels = set(zip(*(x.tolist() for x in np.nonzero(lines)), strict=True))
    found: dict[Pixel, list[Pixel]] = {}
    for i, j in sorted(pixels):
        near = [(i + a, j + b) for a, b in _AROUND if (i + a, j + b) in pixels]
        found[i, j] = [(a, b) for a, b in near if i == a or j == b or not {(i, b), (a, j)} & pixels]
    return found


def _runs(links: Mapping[Pixel, Sequence[Pixel]]) -> Iterator[Path]:
    """Each line from a crossing or end to the next, once; then lines that have neither: loops."""
    walked: set[tuple[Pixel, Pixel]] = set()
    for start in sorted(links, key=lambda p: (len(links[p]) == 2, p)):
        if not links[start]:
            yield [start]
        for step in links[start]:
            if (start, step) in walked:
                continue
            path = [start, step]
            while len(links[path[-1]]) == 2 and path[-1] != start:
                one, two = links[path[-1]]
                path.append(two if one == path[-2] else one)
            walked |= {(a, b) for pair in pairwise(path) for a, b in (pair, pair[::-1])}
            yield path


def _crossings(runs: Sequence[Path], width: np.ndarray) -> dict[Pixel, Pixel]:
    """For each end of a run the pixel that stands for its crossing: near ones are one crossing."""
    degree = Counter(p for run in runs for p in (run[0], run[-1]))
    centre = {p: p for p in degree}
    for run in sorted(runs, key=len):
        a, b = run[0], run[-1]
        near = len(run) <= _BRIDGE * (width[a] + width[b]) / 2 + 1
        if a != b and near and degree[a] > 2 and degree[b] > 2:
            old, new = centre[b], centre[a]
            centre = {p: new if c == old else c for p, c in centre.items()}
    return centre


def _within(run: Path, centre: Mapping[Pixel, Pixel]) -> bool:
    """Whether a run lies within one crossing."""
    return run[0] != run[-1] and centre[run[0]] == centre[run[-1]] and len(run) < 8


def _without_spurs(
    runs: Sequence[Path], centre: Mapping[Pixel, Pixel], width: np.ndarray
) -> list[Path]:
    """Without the short free ends that thinning leaves in corners; the shortest goes first."""
    degree = Counter(centre[p] for run in runs for p in (run[0], run[-1]))
    kept = []
    for run in sorted(runs, key=_length):
        free, root = sorted((centre[run[0]], centre[run[-1]]), key=lambda p: degree[p])
        if degree[free] == 1 and degree[root] > 2 and _length(run) < _SPUR * width[root]:
            degree.subtract([free, root])
        else:
            kept.append(run)
    return kept


def _length(run: Path) -> float:
    return sum(map(dist, run, run[1:]))


End = tuple[int, bool]  # of which run; whether its last pixel


def _joined(
    runs: Sequence[Path], centre: Mapping[Pixel, Pixel], width: np.ndarray
) -> Iterator[np.ndarray]:
    """Runs that go on in each other, as smooth paths [points, 2]."""
    partner = _partners(runs, centre, width)
    left = dict.fromkeys(range(len(runs)))
    ends = [(i, last) for i in left for last in (False, True)]
    for start in sorted(ends, key=lambda end: end in partner):  # loops after all else
        end, points = start, []
        while end[0] in left:
            i, backwards = end
            del left[i]
            path = [centre[runs[i][0]], *runs[i][1:-1], centre[runs[i][-1]]]
            points += path[::-1] if backwards else path
            end = partner.get((i, not backwards), (-1, False))
        if points:
            yield _smooth(np.array(points, float), closed=partner.get(start) is not None)


def _partners(
    runs: Sequence[Path], centre: Mapping[Pixel, Pixel], width: np.ndarray
) -> dict[End, End]:
    """Which end of a run goes on in which: at each crossing the straightest pair first."""
    meeting: dict[Pixel, list[End]] = {}
    for i, run in enumerate(runs):
        if len(run) > 1:
            meeting.setdefault(centre[run[0]], []).append((i, False))
            meeting.setdefault(centre[run[-1]], []).append((i, True))
    found: dict[End, End] = {}
    for crossing, ends in meeting.items():
        reach = round(_REACH * float(width[crossing]))
        away = {end: _direction(runs[end[0]][:: -1 if end[1] else 1], reach) for end in ends}
        bend = {(a, b): float(-away[a] @ away[b]) for a, b in combinations(ends, 2)}
        for a, b in sorted(bend, key=lambda pair: -bend[pair]):
            on = len(ends) == 2 or bend[a, b] > _STRAIGHT
            if on and a not in found and b not in found:
                found[a], found[b] = b, a
    return found


def _direction(run: Path, reach: int) -> np.ndarray:
    """Of a run as it leaves its first pixel, of length 1."""
    way = np.subtract(run[min(reach, len(run) - 1)], run[0])
    return np.asarray(way / max(float(np.hypot(*way)), 1e-9))


def _smooth(path: np.ndarray, *, closed: bool) -> np.ndarray:
    """Without the steps of the pixel grid; ends stay, and a loop stays closed."""
    for _ in range(_SMOOTHING if len(path) > 2 else 0):
        if closed:
            ring = path[:-1]
            ring = (np.roll(ring, 1, 0) + 2 * ring + np.roll(ring, -1, 0)) / 4
            path = np.concatenate([ring, ring[:1]])
        else:
            path = path.copy()
            path[1:-1] = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
    return path


def _place(point: np.ndarray) -> float:
    """How late a pen comes to a point: from the upper left to the lower right."""
    return float(point.sum())


def _directed(path: np.ndarray) -> np.ndarray:
    """Open lines from their upper left end; loops from their top, counterclockwise."""
    if len(path) < 3 or not np.array_equal(path[0], path[-1]):
        return path if _place(path[0]) <= _place(path[-1]) else path[::-1]
    ring = np.roll(path[:-1], -int(np.argmin(path[:-1, 0])), 0)
    row, column = ring.T
    if float(np.sum(row * np.roll(column, -1) - column * np.roll(row, -1))) < 0:
        ring = np.roll(ring[::-1], 1, 0)
    return np.concatenate([ring, ring[:1]])
