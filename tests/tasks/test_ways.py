"""Ways to write a drawing: other orders, ends and paces, the same lines."""

from __future__ import annotations

import tracemalloc
from itertools import permutations, product

import numpy as np
import pytest
import torch

from metasearch.tasks import ways
from metasearch.tasks.pen import from_positions, positions, render, to_steps
from metasearch.tasks.ways import alike

BAR = np.array([[0.0, 0.0], [1.0, 0.1]])
STEM = np.array([[0.5, -0.6], [0.4, 0.9]])
HOOK = np.array([[0.1, 0.5], [0.2, 0.9], [0.9, 0.8]])
LENGTH = 24


def drawings(*each, length=LENGTH):
    """One task, as `alike` takes it: each drawing is a list of strokes."""
    return torch.from_numpy(np.stack([to_steps(paths, length) for paths in each]))[None]


def ring(start, turns=1):
    angles = np.linspace(0, 2 * np.pi, 61) * turns + start
    return np.stack([np.cos(angles), 0.8 * np.sin(angles)], 1)


@pytest.mark.parametrize(
    "other",
    [
        [BAR[::-1], STEM],
        [STEM, BAR],
        [STEM[::-1], BAR[::-1]],
    ],
)
def test_strokes_in_another_order_or_from_other_ends_are_written_as_the_first_drawing_is(other):
    first, turned = alike(drawings([BAR, STEM], other), 1)[0]
    torch.testing.assert_close(positions(turned), positions(first), atol=0.08, rtol=0)
    assert torch.equal(turned[:, 2], first[:, 2])


LONG = [  # the seven longest of a drawing, the longest first
    np.array([[-0.9, y], [0.9 - 0.15 * i, y]]) for i, y in enumerate(np.linspace(-0.9, 0.9, 7))
]
DOTS = [np.array([[0.6, y], [0.63, y]]) for y in (-0.45, 0.45)]


@pytest.mark.parametrize(
    ("i", "j", "back"), [(0, 6, True), (4, 6, True), (7, 8, False), (6, 7, False)]
)
def test_of_many_strokes_the_seven_longest_change_places_and_the_others_keep_theirs(i, j, back):
    one = [*LONG, *DOTS]
    other = list(one)
    other[i], other[j] = one[j], one[i]
    given = drawings(one, other, length=64)
    found = alike(given, 1)[0]
    starts = [positions(steps)[steps[:, 2] < 0] for steps in (*given[0], found[1])]
    assert not torch.allclose(starts[0], starts[1], atol=0.1)
    places = slice(None) if back else i  # where a dot lies now that does not move
    now, then = starts[2][places], starts[0 if back else 1][places]
    torch.testing.assert_close(now, then, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("start", "turns"), [(np.pi / 2, 1), (np.pi, 1), (0, -1), (np.pi, -1)])
def test_rings_start_where_the_first_one_does_and_go_round_as_it_does(start, turns):
    first, turned = alike(drawings([ring(0)], [ring(start, turns)]), 1)[0]
    asis = drawings([ring(0)], [ring(start, turns)])[0, 1]
    off = [(positions(x) - positions(first)).square().sum(-1).mean() for x in (asis, turned)]
    assert off[1] < 0.02 < 0.2 < off[0]


def test_a_line_drawn_slowly_first_and_then_fast_is_written_at_the_pace_of_the_pattern():
    share, pen = torch.linspace(0, 1, LENGTH), torch.ones(2, LENGTH)
    pen[:, 0] = -1
    at = torch.stack([torch.stack([s, s.square()], 1) for s in (share, share**1.5)])
    given = from_positions(at, pen)
    before, after = (positions(x[1]) - positions(x[0]) for x in (given, alike(given[None], 1)[0]))
    assert after.norm(dim=-1).mean() < 0.03 < 0.1 < before.norm(dim=-1).mean()


def test_the_lines_of_a_drawing_stay_but_for_corners_and_so_does_the_first():
    given = drawings([BAR, STEM, HOOK], [HOOK, STEM[::-1], BAR], [ring(1.0), BAR], [STEM])
    found = alike(given, 1)
    assert torch.equal(found[0, 0], given[0, 0])
    pictures = [render(steps.flatten(0, 1), 28) for steps in (given, found)]
    assert (pictures[0] - pictures[1]).abs().mean() < 0.2 * (pictures[0] + 1).abs().mean()


def test_the_pattern_is_the_one_of_the_support_that_the_others_are_nearest_to():
    odd, plain, near = [HOOK], [BAR, STEM], [STEM[::-1] + 0.02, BAR]
    given = drawings(odd, plain, near, odd, odd, odd)
    found = alike(given, 3)[0]
    assert torch.equal(found[1], given[0, 1])
    torch.testing.assert_close(positions(found[2]), positions(found[1]), atol=0.1, rtol=0)
    assert torch.equal(alike(given, 6)[0][0], given[0, 0]), "where more of the support are odd"


def test_no_way_is_nearer_than_the_one_taken(monkeypatch):
    """Against every order and end of three strokes, written out, before they are paced."""
    monkeypatch.setattr(ways, "paced", lambda steps, _: steps)
    make = np.random.default_rng(0)
    for _ in range(10):
        one, other = ([make.uniform(-1, 1, (2, 2)) for _ in range(3)] for _ in range(2))
        first, taken = alike(drawings(one, other), 1)[0]
        every = [
            [path[::end] for path, end in zip(order, ends, strict=True)]
            for order in permutations(other)
            for ends in product((1, -1), repeat=3)
        ]
        off = (positions(drawings(*every)[0]) - positions(first)).square().sum((1, 2))
        torch.testing.assert_close((positions(taken) - positions(first)).square().sum(), off.min())


def test_many_examples_are_not_all_held_beside_all():
    """As a bundle is given them: all are of the support."""
    n, length = 40, 64
    given = drawings(*[[BAR, STEM + 0.01 * i] for i in range(n)], length=length)
    alike(given, 2)  # what is loaded once is no part of it
    tracemalloc.start()
    alike(given, n)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < n * n * length * length * 4 / 2  # bytes of a square of all to all, by half


def test_tasks_do_not_see_each_other_nor_the_support_what_comes_after_it():
    one, two = drawings([BAR, STEM], [STEM, BAR], [HOOK]), drawings([HOOK], [BAR], [STEM[::-1]])
    both = alike(torch.cat([one, two]), 2)
    assert torch.equal(both, torch.cat([alike(one, 2), alike(two, 2)]))
    assert torch.equal(both[:1, :2], alike(one[:, :2], 2))
