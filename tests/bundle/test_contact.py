"""A sheet of images is cut into the images it was made of."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metasearch.bundle.contact import contact_sheet
from metasearch.errors import ConfigError, DataError
from metasearch.rng import Stream

PAPER = 240


def cells(n, size=20):
    """Dark blots on paper, all different, none touching the edge."""
    rng = Stream(3).at("cells").numpy()
    made = np.full((n, size, size), PAPER, np.uint8)
    for one in made:
        one[5:15, 5:15] = rng.integers(0, 90, (10, 10))
    return made


def sheet(tiles, columns, gap, *, margin=0, paper=PAPER):
    """Tiles in lines of `columns`, on paper."""
    n, size, _ = tiles.shape
    rows, step = -(-n // columns), size + gap
    whole = np.full(
        (rows * step - gap + 2 * margin, columns * step - gap + 2 * margin), paper, np.uint8
    )
    for i, tile in enumerate(tiles):
        y, x = margin + i // columns * step, margin + i % columns * step
        whole[y : y + size, x : x + size] = tile
    return Image.fromarray(whole)


def ink(image):
    """What is darker than paper, cropped."""
    grey = np.asarray(image.convert("L"))
    y, x = np.nonzero(grey < 200)
    return grey[y.min() : y.max() + 1, x.min() : x.max() + 1]


@pytest.mark.parametrize(("gap", "margin"), [(0, 0), (7, 0), (7, 13), (40, 3)])
def test_every_image_is_found_in_its_order(tmp_path, gap, margin):
    tiles = cells(6)
    sheet(tiles, 3, gap, margin=margin).save(tmp_path / "sheet.png")
    found = contact_sheet(tmp_path / "sheet.png", "3x2")
    assert len(found) == 6
    for one, tile in zip(found, tiles, strict=True):
        assert np.array_equal(ink(one), ink(Image.fromarray(tile)))
    assert len({one.size for one in found}) == 1


def test_paper_need_not_be_even_and_a_photograph_is_turned_upright(tmp_path):
    tiles = cells(4)
    pixels = np.asarray(sheet(tiles, 4, 10, margin=8)).astype(int)
    noisy = np.clip(pixels + Stream(1).numpy().integers(-9, 10, pixels.shape), 0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to see it upright
    picture = Image.fromarray(noisy.astype(np.uint8)).convert("RGB")
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    found = contact_sheet(tmp_path / "photo.jpg", " 4 X 1")
    assert len(found) == 4
    for one, tile in zip(found, tiles, strict=True):
        assert np.abs(ink(one).mean() - ink(Image.fromarray(tile)).mean()) < 12


def test_where_images_touch_cuts_are_even(tmp_path):
    full = Stream(2).numpy().integers(0, 256, (4, 10, 10)).astype(np.uint8)
    sheet(full, 2, 0).save(tmp_path / "sheet.png")
    found = contact_sheet(tmp_path / "sheet.png", "2x2")
    assert all(np.array_equal(np.asarray(one), tile) for one, tile in zip(found, full, strict=True))


def test_places_that_were_left_blank_are_no_images(tmp_path):
    sheet(cells(5), 3, 6, margin=6).save(tmp_path / "sheet.png")
    assert len(contact_sheet(tmp_path / "sheet.png", "3x2")) == 5


@pytest.mark.parametrize("grid", ["", "5", "0x2", "2x-1", "axb", "2x2x2", "9999x1"])
def test_a_grid_that_is_none_is_refused(tmp_path, grid):
    sheet(cells(4), 2, 4).save(tmp_path / "sheet.png")
    with pytest.raises(ConfigError, match="columns and rows, such as 5x2"):
        contact_sheet(tmp_path / "sheet.png", grid)


def test_more_places_than_pixels_a_blank_sheet_and_no_picture_are_refused(tmp_path):
    sheet(cells(4), 2, 4).save(tmp_path / "sheet.png")
    with pytest.raises(ConfigError, match="too few for 100 columns"):
        contact_sheet(tmp_path / "sheet.png", "100x1")
    Image.new("L", (80, 80), PAPER).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match="blank in all of its 4 places"):
        contact_sheet(tmp_path / "blank.png", "2x2")
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(DataError, match=r"page\.png cannot be read"):
        contact_sheet(tmp_path / "page.png", "2x2")
