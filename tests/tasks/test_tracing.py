"""Pictures that somebody brings, as a pen might have drawn them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metasearch.errors import DataError
from metasearch.tasks.pen import render, to_steps
from metasearch.tasks.tracing import traced

DRAWINGS = {
    "bar": [np.array([[0.0, 0.0], [0.0, 1.0]])],
    "cross": [np.array([[0.0, 0.5], [1.0, 0.5]]), np.array([[0.5, 0.0], [0.5, 1.0]])],
    "corner": [np.array([[0.0, 0.0], [0.0, 1.0], [0.8, 1.0]])],
    "ring": [
        np.stack([np.cos(a), np.sin(a)], 1)
        for a in [np.linspace(0, 2 * np.pi, 30)]
    ],
}  # fmt: skip


def picture(name, size=28):
    steps = to_steps(DRAWINGS[name], 32)
    return render(torch.from_numpy(steps)[None], size)


@pytest.mark.parametrize("size", [28, 64])
@pytest.mark.parametrize("name", DRAWINGS)
def test_what_is_traced_is_drawn_as_the_same_picture(name, size):
    seen = picture(name, size)
    again = render(traced(seen, 32), size)
    blank = (seen + 1).abs().mean()
    assert (again - seen).abs().mean() < 0.35 * blank
    others = [x for x in DRAWINGS if x != name]
    assert all(
        (again - seen).abs().mean() < (again - picture(x, size)).abs().mean() for x in others
    )


def test_there_are_as_many_steps_as_asked_for_each_picture():
    both = torch.cat([picture("bar"), picture("cross")])
    steps = traced(both, 20)
    assert steps.shape == (2, 20, 3) and steps.dtype is torch.float32
    assert torch.equal(steps[1:], traced(both[1:], 20))


def test_colours_are_traced_by_their_mean():
    grey = picture("corner")
    assert torch.equal(traced(grey.expand(-1, 3, -1, -1), 16), traced(grey, 16))


def test_a_picture_without_ink_is_named():
    both = torch.cat([picture("bar"), torch.full((1, 1, 28, 28), -1.0)])
    with pytest.raises(DataError, match=r"image 2 of 2 has no lines that a pen could draw"):
        traced(both, 20)
