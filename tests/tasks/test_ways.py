"""Ways to write a drawing: other orders and ends, the same lines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metasearch.tasks.pen import positions, render, to_steps
from metasearch.tasks.ways import alike

BAR = np.array([[0.0, 0.0], [1.0, 0.1]])
STEM = np.array([[0.5, -0.6], [0.4, 0.9]])
HOOK = np.array([[0.1, 0.5], [0.2, 0.9], [0.9, 0.8]])
LENGTH = 24


def drawings(*each):
    """One task, as `alike` takes it: each drawing is a list of strokes."""
    return torch.from_numpy(np.stack([to_steps(paths, LENGTH) for paths in each]))[None]


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
    first, turned = alike(drawings([BAR, STEM], other))[0]
    torch.testing.assert_close(positions(turned), positions(first), atol=0.08, rtol=0)
    assert torch.equal(turned[:, 2], first[:, 2])


def test_of_many_strokes_the_longest_change_places():
    dot = np.array([[0.9, -0.5], [0.92, -0.5]])
    first, turned = alike(drawings([BAR, STEM, HOOK, dot], [HOOK[::-1], BAR, STEM[::-1], dot]))[0]
    torch.testing.assert_close(positions(turned), positions(first), atol=0.15, rtol=0)


@pytest.mark.parametrize(("start", "turns"), [(np.pi / 2, 1), (np.pi, 1), (0, -1), (np.pi, -1)])
def test_rings_start_where_the_first_one_does_and_go_round_as_it_does(start, turns):
    first, turned = alike(drawings([ring(0)], [ring(start, turns)]))[0]
    asis = drawings([ring(0)], [ring(start, turns)])[0, 1]
    off = [(positions(x) - positions(first)).square().sum(-1).mean() for x in (asis, turned)]
    assert off[1] < 0.02 < 0.2 < off[0]


def test_the_lines_of_a_drawing_stay_and_so_does_the_first():
    given = drawings([BAR, STEM, HOOK], [HOOK, STEM[::-1], BAR], [ring(1.0), BAR], [STEM])
    found = alike(given)
    torch.testing.assert_close(found[0, 0], given[0, 0])
    pictures = [render(steps.flatten(0, 1), 28) for steps in (given, found)]
    assert (pictures[0] - pictures[1]).abs().mean() < 0.003


def test_no_way_that_was_tried_is_nearer_than_the_one_taken():
    """Against every order and end of two strokes, written out."""
    make = np.random.default_rng(0)
    for _ in range(20):
        one, a = ([make.uniform(-1, 1, (2, 2)) for _ in range(2)] for _ in range(2))
        first, taken = alike(drawings(one, a))[0]
        ways = [[x[::s], y[::t]] for x, y in (a, a[::-1]) for s in (1, -1) for t in (1, -1)]
        every = [torch.from_numpy(to_steps(way, LENGTH)) for way in ways]
        off = [(positions(x) - positions(first)).square().sum() for x in every]
        assert (positions(taken) - positions(first)).square().sum() <= min(off) + 1e-4


def test_tasks_do_not_see_each_other_and_later_rows_not_the_earlier():
    one, two = drawings([BAR, STEM], [STEM, BAR], [HOOK]), drawings([HOOK], [BAR], [STEM[::-1]])
    both = alike(torch.cat([one, two]))
    assert torch.equal(both, torch.cat([alike(one), alike(two)]))
    assert torch.equal(both[:1, [0, 2]], alike(one[:, [0, 2]]))
