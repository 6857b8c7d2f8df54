"""The pace of a pen: where its steps end on lines that stay."""

from __future__ import annotations

import numpy as np
import torch

from metasearch.tasks.pace import paced
from metasearch.tasks.pen import from_positions, positions, render, to_steps


def drawn(points, pen=None):
    """One drawing [1, length, 3] through these points."""
    at = torch.tensor(np.asarray(points), dtype=torch.float32)[None]
    pen = [-1.0] + [1.0] * (at.shape[1] - 1) if pen is None else pen
    return from_positions(at, torch.tensor([pen]))


def scribbles(n, length, seed=0):
    """Drawings of two strokes, at random."""
    make = np.random.default_rng(seed)
    every = [[make.uniform(-1, 1, (3, 2)) for _ in range(2)] for _ in range(n)]
    return torch.from_numpy(np.stack([to_steps(strokes, length) for strokes in every]))


def arc(share):
    """Points of an arc, at these shares of its length."""
    angle = np.pi * np.asarray(share)
    return 0.7 * np.stack([np.cos(angle), np.sin(angle)], 1)


def test_a_line_drawn_slowly_first_and_then_fast_is_drawn_at_the_pace_of_the_other():
    even = drawn(arc(np.linspace(0, 1, 16)))
    uneven = drawn(arc(np.linspace(0, 1, 16) ** 1.5))
    found = paced(uneven, even)
    before, after = ((positions(x) - positions(even)).norm(dim=-1).mean() for x in (uneven, found))
    assert after < 0.03 < 0.1 < before


def test_no_walk_along_the_strokes_is_nearer_than_the_one_taken():
    """Against every walk, written out, of which each step ends at a point or half way to the next."""
    given, like = scribbles(4, 6), scribbles(1, 6, seed=1)
    found = paced(given, like)
    for before, after in zip(given, found, strict=True):
        off = [_off(walk, like[0]) for walk in _walks(before)]
        assert len(off) > 10
        torch.testing.assert_close(_off(positions(after), like[0]), min(off))


def _off(points, like):
    return (points - positions(like)).square().sum()


def _walks(steps):
    """All that a pen may do: to a point one to four halves of a step on, or to the next stroke."""
    at, up = positions(steps), (steps[:, 2] < 0).tolist()
    length = len(at)

    def on(i, left):
        if left == 0:
            if i == 2 * (length - 1):
                yield [i]
            return
        stops = []
        for pace in (1, 2, 3, 4):
            j = i + pace
            crossed = [k for k in range(1, length) if up[k] and 2 * (k - 1) < j and i < 2 * k]
            if j <= 2 * (length - 1) and (not crossed or (pace == 2 and i == 2 * crossed[0] - 2)):
                stops.append(j)
        for j in stops:
            for rest in on(j, left - 1):
                yield [i, *rest]

    for walk in on(0, length - 1):
        yield torch.stack([(at[i // 2] + at[-(-i // 2)]) / 2 for i in walk])


def test_both_ends_of_each_stroke_stay_and_the_picture_but_for_its_corners():
    given, like = scribbles(20, 32), scribbles(1, 32, seed=1)
    found = paced(given, like)
    for before, after in zip(given, found, strict=True):
        starts = [x[:, 2] < 0 for x in (before, after)]
        for shift in (0, -1):  # where strokes start, and where those before them end
            ends = [
                positions(x)[s.roll(shift)] for x, s in zip((before, after), starts, strict=True)
            ]
            torch.testing.assert_close(*ends)
    apart = (render(given, 28) - render(found, 28)).abs().mean((1, 2, 3))
    assert apart.mean() < 0.25 * (render(given, 28) + 1).abs().mean()


def test_a_drawing_stays_to_the_last_bit_beside_itself_and_rows_do_not_see_each_other():
    given, like = scribbles(4, 16), scribbles(1, 16, seed=1)
    assert torch.equal(paced(given, given[2:3])[2], given[2])
    assert torch.equal(paced(given, like), torch.cat([paced(row[None], like) for row in given]))
