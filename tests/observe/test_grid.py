"""A sheet of samples is legible: whole pixels, dark on light, labels whole and clear of pictures."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from metasearch.errors import DataError
from metasearch.observe.grid import GUTTER, MARGIN, PAPER, sample_grid, to_png
from metasearch.rng import Stream
from metasearch.trial.report import SampleGrid
from tests.observe.synthetic_search import samples

LONG = ("a/b", "Alphabet_of_the_Magi/character07", "x" * 60, "one two three four five six")


def blank(tasks, n=2, size=28, channels=1, value=0):
    pictures = np.full((len(tasks), n, size, size, channels), value, np.uint8)
    return SampleGrid(tuple(tasks), pictures, pictures, pictures)


def dark(image):
    """Where ink is: pixels clearly darker than the ground."""
    return np.asarray(image.convert("L")) < PAPER[0] - 40


def runs(flags, least):
    """How many groups of true flags there are, gaps below `least` ignored."""
    places = np.flatnonzero(flags)
    return 1 + int((np.diff(places) > least).sum())


@pytest.mark.parametrize("size", [8, 28, 32, 64, 105])
def test_every_pixel_of_a_picture_becomes_a_square_of_its_colour(size):
    pixels = Stream(0).numpy().integers(0, 200, (1, 1, size, size, 3), np.uint8)
    pixels[0, 0, 0, 0] = (1, 2, 3)
    empty = pixels[:, :0]
    sheet = np.asarray(sample_grid(SampleGrid(("t",), pixels, empty, empty)))
    y, x = np.argwhere((sheet == (1, 2, 3)).all(-1))[0]
    scale = next(k for k in range(1, 57) if k * size >= 56)
    wanted = pixels[0, 0].repeat(scale, 0).repeat(scale, 1)
    np.testing.assert_array_equal(sheet[y : y + len(wanted), x : x + len(wanted)], wanted)


def test_ink_that_arrives_light_is_shown_dark():
    bright = np.asarray(sample_grid(blank(["t"], value=255)))
    empty = np.asarray(sample_grid(blank(["t"], value=0)))
    changed = (bright != empty).any(-1)
    assert changed.sum() == 6 * 56 * 56
    assert (bright[changed] == 0).all()
    assert (empty[changed] == 255).all()


def test_colours_are_left_as_they_are():
    shown = np.asarray(sample_grid(blank(["t"], channels=3, value=7)))
    assert (shown == 7).all(-1).sum() == 6 * 56 * 56


@pytest.mark.parametrize("name", LONG)
def test_a_label_is_whole_and_touches_neither_edge_nor_picture(name):
    sheet = sample_grid(blank([name, "b"], n=1))
    ink = dark(sheet)
    for edge in (ink[:MARGIN], ink[-MARGIN:], ink[:, :MARGIN], ink[:, -MARGIN:]):
        assert not edge.any()
    white = (np.asarray(sheet) == 255).all(-1)
    first_picture = int(np.flatnonzero(white.sum(0) >= 2 * 56)[0])
    assert not ink[:, first_picture - GUTTER : first_picture].any()
    label = ink[:, : first_picture - GUTTER]
    assert label.any()


def test_rows_of_long_labels_do_not_run_into_each_other():
    short, long = (sample_grid(blank([name, name], n=1)) for name in ("a", "hp" * 60))
    ink = dark(long)
    white = (np.asarray(long) == 255).all(-1)
    labels = ink[:, : int(np.flatnonzero(white.any(0))[0])].any(1)
    assert long.height > short.height
    assert runs(labels, least=8) == 2


def test_headings_stay_apart_when_a_block_holds_one_small_picture():
    sheet = sample_grid(blank(["t"], n=1, size=8))
    heading = dark(sheet)[: MARGIN + 18].any(0)
    assert runs(heading, least=GUTTER - 2) == 3


def test_many_pictures_are_folded_into_even_lines():
    one, folded = sample_grid(blank(["t"], n=4)), sample_grid(blank(["t"], n=8))
    assert folded.width == one.width
    assert folded.height > one.height


def test_a_block_without_pictures_is_left_out():
    whole = samples(0.5)
    part = SampleGrid(whole.tasks, whole.support, whole.before[:, :0], whole.after)
    assert sample_grid(part).width < sample_grid(whole).width - 4 * 56


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 1, 8, 8, 1), np.float32),
        np.zeros((1, 1, 8, 8, 1), np.uint8),
        np.zeros((2, 1, 8, 8, 2), np.uint8),
        np.zeros((2, 8, 8, 1), np.uint8),
    ],
)
def test_pictures_of_another_shape_or_type_are_refused_by_name(wrong):
    good = np.zeros((2, 1, 8, 8, 1), np.uint8)
    with pytest.raises(DataError, match=r"before adapting: got .*uint8"):
        sample_grid(SampleGrid(("a", "b"), good, wrong, good))


def test_the_sheet_can_be_drawn_without_matplotlib(monkeypatch):
    with_it = sample_grid(blank(["Greek/omega"]))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without = sample_grid(blank(["Greek/omega"]))
    assert dark(without).any()
    assert to_png(without) != to_png(with_it)


@pytest.mark.parametrize("name", ["Ελληνικά/ω", "漢字/水", "", "a\nb"])
def test_any_task_name_can_be_drawn(name):
    assert sample_grid(blank([name])).height > 56


def test_a_file_holds_the_sheet_without_loss_and_grey_ones_in_one_channel():
    for channels, mode in ((1, "L"), (3, "RGB")):
        sheet = sample_grid(samples(0.3, channels=channels))
        read = Image.open(io.BytesIO(to_png(sheet)))
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read.convert("RGB")), np.asarray(sheet))
