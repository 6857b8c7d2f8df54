"""From ink to strokes: thinning and tracing of forms whose middle lines are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from metasearch.tasks.skeleton import thin, trace

SIDE = 48
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(float)


def bar(a, b, half=2.5):
    """Ink around the line from a to b, points as row, column."""
    a, b = np.array(a, float), np.array(b, float)
    way = b - a
    share = ((ROWS - a[0]) * way[0] + (COLUMNS - a[1]) * way[1]) / max(way @ way, 1e-9)
    share = share.clip(0, 1)
    return np.hypot(ROWS - a[0] - share * way[0], COLUMNS - a[1] - share * way[1]) <= half


def ring(radius=14, half=2.5):
    return np.abs(np.hypot(ROWS - 24, COLUMNS - 24) - radius) <= half


PLUS = bar((24, 8), (24, 40)) | bar((8, 24), (40, 24))
TEE = bar((10, 8), (10, 40)) | bar((10, 24), (40, 24))
FORMS = {
    "bar": bar((8, 10), (40, 38)),
    "ring": ring(),
    "plus": PLUS,
    "tee": TEE,
    "dot": bar((24, 24), (24, 24)),
    "two": bar((8, 8), (8, 40)) | bar((40, 8), (40, 40)),
    "lollipop": ring(10) | bar((34, 24), (46, 24)),
}


def strokes(ink):
    return trace(thin(ink[None])[0], np.maximum(ndimage.distance_transform_edt(ink), 0.5))


@pytest.mark.parametrize("form", FORMS)
def test_thinning_keeps_parts_and_holes_and_leaves_lines_within_the_ink(form):
    ink = FORMS[form]
    lines = thin(ink[None])[0]
    assert not (lines & ~ink).any()
    eight = np.ones((3, 3))
    assert ndimage.label(lines, eight)[1] == ndimage.label(ink, eight)[1]
    assert ndimage.label(~lines)[1] == ndimage.label(~ink)[1]
    blocks = lines[1:, 1:] & lines[:-1, 1:] & lines[1:, :-1] & lines[:-1, :-1]
    assert blocks.sum() <= 1


def test_pictures_are_thinned_alike_alone_and_in_a_batch():
    batch = np.stack(list(FORMS.values()))
    together = thin(batch)
    for one, found in zip(batch, together, strict=True):
        np.testing.assert_array_equal(thin(one[None])[0], found)
    assert batch.sum() == np.stack(list(FORMS.values())).sum()  # given arrays are left alone


def test_a_bar_is_one_stroke_along_its_middle_from_the_upper_left():
    (path,) = strokes(FORMS["bar"])
    assert path[0] == pytest.approx((8, 10), abs=3.5)
    assert path[-1] == pytest.approx((40, 38), abs=3.5)
    way = np.array([32, 28]) / np.hypot(32, 28)
    off = (path - (8, 10)) @ np.array([-way[1], way[0]])
    assert np.abs(off).max() < 1.0


def test_a_ring_is_one_closed_stroke_from_the_top_counterclockwise():
    (path,) = strokes(FORMS["ring"])
    np.testing.assert_array_equal(path[0], path[-1])
    assert path[0] == pytest.approx((10, 24), abs=2)
    assert np.hypot(*(path - 24).T) == pytest.approx(14, abs=1.2)
    assert path[len(path) // 4][1] < 24  # first to the left


def test_two_lines_go_straight_across_their_crossing():
    found = strokes(PLUS)
    assert len(found) == 2
    for path in found:
        spread = np.ptp(path, axis=0)
        assert spread.max() > 26
        assert spread.min() < 3


def test_a_bar_that_meets_another_is_a_stroke_of_its_own():
    across, down = strokes(TEE)
    assert np.ptp(across[:, 1]) > 26
    assert np.ptp(down[:, 0]) > 24


def test_a_dot_is_a_stroke_of_next_to_no_length():
    (path,) = strokes(FORMS["dot"])
    assert np.ptp(path, axis=0).max() <= 1
    assert path[0] == pytest.approx((24, 24), abs=1)


def test_strokes_come_from_the_upper_left():
    upper, lower = strokes(FORMS["two"])
    assert upper[:, 0].mean() < lower[:, 0].mean()
    assert upper[0][1] < upper[-1][1]


def test_corners_of_thick_ink_leave_no_strokes_of_their_own():
    square_end = np.zeros((SIDE, SIDE), bool)
    square_end[6:42, 18:30] = True
    (path,) = strokes(square_end)
    assert np.abs(path[:, 1] - 23.5).max() < 4


def test_every_pixel_of_a_line_is_near_a_stroke():
    for name, ink in FORMS.items():
        lines = np.argwhere(thin(ink[None])[0])
        points = np.concatenate(strokes(ink))
        gaps = np.hypot(*(lines[:, None] - points[None]).transpose(2, 0, 1)).min(1)
        assert gaps.max() < 4.5, name  # spurs aside
