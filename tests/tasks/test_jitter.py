from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from metasearch.rng import Stream
from metasearch.tasks.jitter import (
    FIELD,
    FRAME,
    REACH,
    Jitter,
    Pose,
    decode_distance,
    draw,
    encode_distance,
)

STILL = Jitter(rotation=0, shear=0, scale=(1, 1), shift=0, elastic=0, stroke=0)


@pytest.fixture
def bar() -> np.ndarray:
    """An upright bar, 8 of 28 pixels wide and 20 high: the field of [1, FIELD, FIELD]."""
    place = (np.arange(FIELD) + 0.5) - FIELD / 2
    beside = np.abs(place)[None, :] - 8.0
    above = np.abs(place)[:, None] - 20.0
    outside = np.hypot(np.maximum(beside, 0), np.maximum(above, 0))
    return encode_distance(outside + np.minimum(np.maximum(beside, above), 0))[None]


def ink(pictures):
    return (pictures[:, 0] + 1) / 2


def moments(picture):
    """Area, centre x, centre y and the angle of the long axis to the vertical, in degrees."""
    y, x = torch.meshgrid(torch.arange(FRAME) + 0.5, torch.arange(FRAME) + 0.5, indexing="ij")
    area = picture.sum()
    cx, cy = (picture * x).sum() / area, (picture * y).sum() / area
    xx = (picture * (x - cx) ** 2).sum()
    yy = (picture * (y - cy) ** 2).sum()
    xy = (picture * (x - cx) * (y - cy)).sum()
    return area, cx, cy, torch.rad2deg(0.5 * torch.atan2(2 * xy, yy - xx))


def posed(bar, n=200, **changes):
    jitter = dataclasses.replace(STILL, **changes)
    pose = jitter.draw(Stream(0).at("pose"), n)
    return ink(draw(np.repeat(bar, n, 0), pose, FRAME)), pose


def test_a_distance_survives_its_encoding_within_a_hundredth_of_a_pixel():
    distance = np.linspace(-REACH, REACH, 1001).astype(np.float32)
    back = decode_distance(torch.from_numpy(encode_distance(distance)).float()).numpy()
    assert np.abs(back - distance).max() < 0.02


def test_a_neutral_pose_shows_the_glyph_where_and_as_it_is(bar):
    (picture,) = ink(draw(bar, Pose.neutral(1), FRAME))
    area, cx, cy, angle = moments(picture)
    assert area == pytest.approx(8 * 20, rel=0.01)
    assert (cx, cy) == (pytest.approx(14, abs=0.01), pytest.approx(14, abs=0.01))
    assert abs(angle) < 0.1


def test_the_frame_is_shown_whole_at_any_size(bar):
    for size in (16, 28, 64):
        share = ink(draw(bar, Pose.neutral(1), size)).mean()
        assert share == pytest.approx(160 / 28**2, rel=0.02)


def test_no_jitter_is_the_neutral_pose(bar):
    pictures, _ = posed(bar, n=3)
    assert torch.equal(pictures, ink(draw(np.repeat(bar, 3, 0), Pose.neutral(3), FRAME)))


def test_rotation_turns_up_to_its_angle_both_ways(bar):
    pictures, _ = posed(bar, rotation=10.0)
    angles = torch.stack([moments(p)[3] for p in pictures])
    assert angles.min() == pytest.approx(-10, abs=0.6)
    assert angles.max() == pytest.approx(10, abs=0.6)


def test_scale_changes_the_area_by_its_square(bar):
    pictures, pose = posed(bar, scale=(0.85, 1.1))
    areas = pictures.sum((1, 2)) / 160
    torch.testing.assert_close(areas, torch.from_numpy(pose.scale) ** 2, rtol=0.02, atol=0)
    assert pose.scale.min() < 0.87
    assert pose.scale.max() > 1.08


def test_shift_moves_by_pixels_of_the_frame(bar):
    pictures, _ = posed(bar, shift=1.5)
    centres = torch.stack([torch.stack(moments(p)[1:3]) for p in pictures]) - 14
    assert centres.abs().max() <= 1.52
    assert centres.abs().max() > 1.4
    assert centres.mean(0).abs().max() < 0.25


def test_shear_leans_without_changing_the_area(bar):
    pictures, _ = posed(bar, shear=0.2)
    torch.testing.assert_close(pictures.sum((1, 2)), torch.full((200,), 160.0), rtol=0.02, atol=0)
    leaning = torch.stack([moments(p)[3] for p in pictures])
    assert leaning.max() > 8
    assert leaning.min() < -8


def test_stroke_moves_every_outline_by_up_to_half_a_pixel(bar):
    pictures, pose = posed(bar, stroke=0.5)
    widths = pictures[:, 14].sum(1)
    torch.testing.assert_close(widths, 8 + 2 * torch.from_numpy(pose.stroke), rtol=0, atol=0.05)
    assert np.abs(pose.stroke).max() > 0.45


def test_elastic_bends_nodes_by_a_pixel_on_average(bar):
    _, pose = posed(bar, n=400, elastic=1.0)
    assert (pose.warp * FRAME / 2).std() == pytest.approx(1.0, rel=0.03)
    pictures, _ = posed(bar, elastic=1.0)
    assert pictures.std(0).max() > 0.2


def test_the_inverse_matrix_undoes_scale_times_rotation_times_shear():
    pose = Jitter().draw(Stream(1), 50)
    u = Stream(1).at("pose").numpy().uniform(-1, 1, size=(50, 6))
    for i in range(50):
        a, k = np.deg2rad(10 * u[i, 0]), 0.2 * u[i, 1]
        turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        forward = pose.scale[i] * turn @ np.array([[1, k], [0, 1]])
        np.testing.assert_allclose(pose.matrix[i] @ forward, np.eye(2), atol=1e-6)


def test_a_picture_depends_on_its_own_pose_only_to_the_last_bit(bar):
    fields = np.repeat(bar, 37, 0)
    pose = Jitter().draw(Stream(0), 37)
    together = draw(fields, pose, FRAME)
    for i in (0, 5, 36):
        alone = {f.name: getattr(pose, f.name)[i : i + 1] for f in dataclasses.fields(pose)}
        assert torch.equal(draw(fields[:1], Pose(**alone), FRAME)[0], together[i])


def test_the_first_poses_do_not_depend_on_how_many_follow():
    few, many = Jitter().draw(Stream(0), 3), Jitter().draw(Stream(0), 9)
    for f in dataclasses.fields(few):
        np.testing.assert_array_equal(getattr(few, f.name), getattr(many, f.name)[:3])


def test_pictures_stay_in_range_and_no_pose_gives_no_picture(bar):
    pictures = draw(np.repeat(bar, 50, 0), Jitter().draw(Stream(0), 50), FRAME)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    assert draw(bar[:0], Pose.neutral(0), 20).shape == (0, 1, 20, 20)
