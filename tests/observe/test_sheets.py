"""A sheet can be taken apart again, and what is no sheet is refused in one line."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from metasearch.errors import DataError
from metasearch.observe.grid import LAYOUT, sample_grid, to_png
from metasearch.observe.sheets import read_sheet
from metasearch.rng import Stream
from metasearch.trial.report import SampleGrid


def grid(channels, h, w, counts=(5, 8, 7)):
    rng = Stream(3).numpy()
    blocks = [rng.integers(0, 256, (3, n, h, w, channels), np.uint8) for n in counts]
    return SampleGrid(("a/b", "x" * 40, "<c>"), *blocks)


@pytest.mark.parametrize(("channels", "h", "w"), [(1, 20, 20), (3, 32, 17), (1, 105, 105)])
def test_pictures_come_back_as_they_were(tmp_path, channels, h, w):
    given, path = grid(channels, h, w), tmp_path / "1.png"
    path.write_bytes(to_png(sample_grid(given)))
    back = read_sheet(path)
    assert back.tasks == given.tasks
    for name in ("support", "before", "after"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given, name))
    assert back.truth is None


def test_the_truth_comes_back_where_it_is_shown(tmp_path):
    given, path = grid(1, 16, 16, counts=(5, 8, 8, 8)), tmp_path / "1.png"
    path.write_bytes(to_png(sample_grid(given)))
    np.testing.assert_array_equal(read_sheet(path).truth, given.truth)


def test_a_block_that_was_left_out_comes_back_empty(tmp_path):
    given, path = grid(1, 20, 20, counts=(5, 0, 7)), tmp_path / "1.png"
    path.write_bytes(to_png(sample_grid(given)))
    assert read_sheet(path).before.shape == (3, 0, 20, 20, 1)


def forged(path, **changes):
    sheet = sample_grid(grid(1, 20, 20))
    layout = {**json.loads(sheet.info[LAYOUT]), **changes}
    note = PngImagePlugin.PngInfo()
    note.add_text(LAYOUT, json.dumps(layout))
    sheet.save(path, pnginfo=note)


@pytest.mark.parametrize(
    "changes",
    [{"tops": [99_999]}, {"blocks": []}, {"blocks": [{"title": "support"}]}, {"tasks": None}],
)
def test_a_layout_that_does_not_fit_is_refused(tmp_path, changes):
    path = tmp_path / "1.png"
    forged(path, **changes)
    with pytest.raises(DataError, match="no sheet of samples"):
        read_sheet(path)


def test_what_is_no_sheet_is_refused(tmp_path):
    path = tmp_path / "1.png"
    Image.new("L", (4, 4)).save(path)
    with pytest.raises(DataError, match="no sheet"):
        read_sheet(path)
    path.write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="no sheet"):
        read_sheet(path)


@pytest.mark.parametrize("side", [12_000, 80_000])
def test_a_sheet_that_promises_more_pixels_than_any_has_is_refused(tmp_path, side):
    path = tmp_path / "1.png"
    Image.new("L", (4, 4)).save(path)
    data = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    with pytest.raises(DataError, match="no sheet"):
        read_sheet(path)
