"""Steps of a pen: resampling, positions, and the pictures they make."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metasearch.rng import Stream
from metasearch.tasks.jitter import FIELD, FRAME, Jitter, Pose, draw, encode_distance
from metasearch.tasks.pen import REACH, WIDTH, from_positions, moved, positions, render, to_steps


def steps_of(*paths, length=32):
    return torch.from_numpy(to_steps([np.array(p, float) for p in paths], length))[None]


def ink(picture):
    return (picture + 1) / 2


def test_a_drawing_is_centred_and_its_longer_side_fills_its_share_of_the_frame():
    steps = steps_of([(10, 20), (14, 20)], [(10, 23), (10, 28)])
    points = positions(steps)[0]
    low, high = points.min(0).values, points.max(0).values
    torch.testing.assert_close(low + high, torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(high - low, 2 * REACH * torch.tensor([0.5, 1.0]))


def test_the_pen_is_up_on_the_way_to_each_stroke_and_nowhere_else():
    pen = steps_of([(0, 0), (1, 0)], [(0, 2), (3, 2)], length=16)[0, :, 2]
    assert (pen == -1).nonzero().flatten().tolist() == [0, 4]
    assert (pen.abs() == 1).all()


def test_steps_within_a_stroke_are_equally_long_and_end_where_it_ends():
    corner = steps_of([(0, 0), (0, 3), (4, 3)], length=15)[0]
    lengths = corner[1:, :2].norm(dim=1)
    assert lengths.max() <= lengths.median() * 1.001  # the step around the corner is cut short
    ends = positions(corner[None])[0][[0, -1]]
    torch.testing.assert_close(ends, torch.tensor([[-1.0, -0.75], [1.0, 0.75]]) * REACH)


def test_longer_strokes_get_more_steps_and_a_dot_gets_two():
    pen = steps_of([(0, 0), (6, 0)], [(3, 3)], [(0, 5), (3, 5)], length=20)[0, :, 2]
    starts = [*(pen == -1).nonzero().flatten().tolist(), 20]
    assert np.diff(starts).tolist() == [12, 2, 6]


def test_of_more_strokes_than_steps_the_longest_are_drawn_in_their_order():
    paths = [[(0, i), (1 + i % 5, i)] for i in range(10)]
    steps = steps_of(*paths, length=8)[0]
    assert (steps[:, 2] == -1).sum() == 4
    rows = positions(steps[None])[0][steps[:, 2] == -1][:, 1]
    assert (rows.diff() > 0).all()


def test_positions_and_steps_are_inverse():
    steps = torch.randn(3, 12, 3, generator=Stream(0).torch())
    torch.testing.assert_close(from_positions(positions(steps), steps[..., 2]), steps)


@pytest.mark.parametrize("size", [16, 28, 64])
def test_a_line_covers_its_length_times_its_width(size):
    line = steps_of([(0, 0), (1, 0)])
    area = float(ink(render(line, size)).sum()) * (FRAME / size) ** 2
    caps = np.pi * WIDTH**2 / 4
    assert area == pytest.approx(REACH * FRAME * WIDTH + caps, rel=0.03)


def test_a_line_is_drawn_where_it_is_x_to_the_right_and_y_downwards():
    steps = torch.tensor([[[0.5, -0.5, -1.0], [0.25, 0.0, 1.0]]])
    picture = ink(render(steps, 64))[0, 0]
    rows, columns = np.nonzero(picture.numpy() > 0.5)
    assert rows.mean() == pytest.approx(0.25 * 64 - 0.5, abs=0.6)
    assert (columns.min(), columns.max()) == (
        pytest.approx(0.75 * 64, abs=3),
        pytest.approx(0.875 * 64, abs=3),
    )


def test_nothing_is_drawn_with_the_pen_up_and_grey_in_between():
    steps = torch.tensor([[[-0.5, 0.0, -1.0], [1.0, 0.0, -1.0]]]).repeat(3, 1, 1)
    steps[:, 1, 2] = torch.tensor([-1.0, 0.0, 1.0])
    darkest = ink(render(steps, 28)).amax((1, 2, 3))
    torch.testing.assert_close(darkest, torch.tensor([0.0, 0.5, 1.0]))


def test_pictures_do_not_depend_on_those_beside_them_nor_on_how_many_there_are():
    steps = torch.cat([steps_of([(0, 0), (i, 1)], [(0, 2), (1, i)]) for i in range(1, 41)])
    whole = render(steps, 20)
    assert torch.equal(whole[17:18], render(steps[17:18], 20))
    assert render(steps[:0], 20).shape == (0, 1, 20, 20)


def test_the_picture_has_the_derivative_of_finite_differences():
    line = 0.4 * torch.randn(1, 8, 3, generator=Stream(5).torch(), dtype=torch.float64)
    weights = torch.rand(1, 1, 14, 14, generator=Stream(1).torch(), dtype=torch.float64)

    def value(steps):
        return (render(steps, 14) * weights).sum()

    point = line.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(point), point)
    h = 1e-6
    for i in range(8):
        for j in range(3):
            up, down = line.clone(), line.clone()
            up[0, i, j] += h
            down[0, i, j] -= h
            want = float(value(up) - value(down)) / (2 * h)
            assert float(slope[0, i, j]) == pytest.approx(want, rel=1e-4, abs=1e-5)


def test_a_neutral_pose_moves_nothing():
    steps = steps_of([(0, 0), (2, 1), (1, 3)])
    torch.testing.assert_close(moved(steps, Pose.neutral(1)), steps, atol=1e-6, rtol=0)


def test_poses_move_lines_as_they_move_pictures():
    """A bar drawn as a field and drawn as a line lie alike, turned, sheared, scaled and bent."""
    rows, columns = np.mgrid[:FIELD, :FIELD] + 0.5 - FIELD / 2
    half = FIELD * REACH / 2
    over = np.maximum(np.abs(rows) - half, 0)
    field = encode_distance(np.hypot(over, columns) - FIELD / FRAME * WIDTH / 2)[None]
    bar = steps_of([(0, 0), (0, 1)])
    pose = Jitter(stroke=0.0).draw(Stream(3), 40)
    lines = ink(render(moved(bar.expand(40, -1, -1), pose), FRAME))
    fields = ink(draw(np.repeat(field, 40, 0), pose, FRAME))
    overlap = torch.minimum(lines, fields).sum((1, 2, 3)) / torch.maximum(lines, fields).sum(
        (1, 2, 3)
    )
    # The elastic bend is looked up before the pose by the one, and after it by the other.
    assert overlap.mean() > 0.75
    straight = Jitter(stroke=0.0, elastic=0.0, scale=(1.0, 1.0)).draw(Stream(3), 40)
    lines = ink(render(moved(bar.expand(40, -1, -1), straight), FRAME))
    fields = ink(draw(np.repeat(field, 40, 0), straight, FRAME))
    torch.testing.assert_close(lines, fields, atol=0.15, rtol=0)
