"""Photographs of things on paper are cut to the things."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metasearch.bundle.crop import cropped, subjects
from metasearch.errors import DataError
from metasearch.rng import Stream


def photo(width, height, x, y, *, size=60, grain=6.0, slope=40.0, dark=False, colour=True):
    """A square with a hole on grainy paper that a lamp lights from one side."""
    rng = Stream(4).at("photo", x, y).numpy()
    light = 200 + slope * (np.arange(width) / width - 0.5) + rng.normal(0, grain, (height, width))
    light[y : y + size, x : x + size] = 50
    light[y + 20 : y + 40, x + 20 : x + 40] = 200
    grey = np.clip(255 - light if dark else light, 0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([grey] * 3, -1) if colour else grey)


@pytest.mark.parametrize(("x", "y"), [(20, 30), (200, 150), (90, 100)])
@pytest.mark.parametrize("kind", [{}, {"dark": True}, {"colour": False}])
def test_a_thing_fills_its_cut_wherever_it_was(x, y, kind):
    found = cropped(photo(300, 240, x, y, **kind))
    assert found.width == found.height
    assert 60 <= found.width <= 60 * 1.6
    grey = np.asarray(found.convert("L")).astype(int)
    ink = grey < 128 if not kind.get("dark") else grey > 128
    rows, columns = np.nonzero(ink)
    middle = found.width / 2
    assert abs(rows.mean() - middle) < 5 and abs(columns.mean() - middle) < 5
    assert 0.75 < ink.sum() / (60 * 60 - 20 * 20) < 1.25
    paper = np.concatenate([grey[:3].ravel(), grey[-3:].ravel()])
    assert abs(np.median(paper) - (0 if kind.get("dark") else 255)) < 12


def test_a_thing_at_the_edge_gets_paper_beyond_it():
    found = cropped(photo(300, 240, 236, 90))
    assert found.width == found.height
    assert np.asarray(found.convert("L"))[:, -3:].min() > 240


def test_a_large_photograph_is_cut_to_no_more_than_is_needed():
    found = cropped(photo(300, 240, 90, 90).resize((3000, 2400)))
    assert 150 < found.width < 400


def test_files_folders_and_images_are_taken_and_told_apart(tmp_path):
    pictures = [photo(200, 160, 30 + 10 * i, 40) for i in range(3)]
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    files = sorted(tmp_path.iterdir())
    wanted = [np.asarray(cropped(picture)) for picture in pictures]
    for given in (tmp_path, str(tmp_path), files, pictures):
        found = subjects(given)
        assert all(
            np.array_equal(a, b) for a, b in zip(map(np.asarray, found), wanted, strict=True)
        )
    assert len(subjects(files[0])) == 1


def test_bare_paper_and_broken_files_are_named(tmp_path):
    Image.new("RGB", (100, 80), (230, 228, 220)).save(tmp_path / "bare.png")
    with pytest.raises(DataError, match=r"bare\.png shows nothing but paper"):
        subjects(tmp_path)
    (tmp_path / "bare.png").write_text("no image")
    with pytest.raises(DataError, match=r"bare\.png cannot be read"):
        subjects(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        subjects([tmp_path / "gone.png"])
