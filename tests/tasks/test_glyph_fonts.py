from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from metasearch.errors import DataError, EnvironmentFault
from metasearch.tasks import glyph_fonts
from metasearch.tasks.glyph_classes import font_hashes, glyph_classes
from metasearch.tasks.glyph_fonts import STYLES, font_files, font_folder, render_fields


@pytest.fixture(scope="module")
def files():
    return font_files(font_hashes())


@pytest.fixture(scope="module")
def tables(files):
    return {style: set(TTFont(path).getBestCmap()) for style, path in files.items()}


def test_the_fonts_are_those_of_thekept_manifest():
    assert set(font_hashes()) == set(STYLES)


def test_fonts_that_claim_what_they_do_not_draw_are_left_out():
    assert not [s for s in STYLES if s.startswith(("LastResort", "cmsy", "cmex", "cmmi"))]
    assert not [s for s in STYLES if "Display" in s or "NonUni" in s or "Siz" in s]


def test_the_last_resort_font_would_pass_any_test_of_coverage():
    """Why it is left out by name; should the font become honest, this says so."""
    path = font_folder() / "LastResortHE-Regular.ttf"
    if not path.exists():
        pytest.skip("this matplotlib has no last-resort font")
    assert len(TTFont(path).getBestCmap()) > 1_000_000


def test_symbol_fonts_claim_letters_that_they_do_not_draw(files):
    """Why cmsy10 is left out: the pictures of its letters are not letters."""
    letters = "abcdefghij"
    symbols = {"cmsy10": font_folder() / "cmsy10.ttf"}
    claimed = TTFont(symbols["cmsy10"]).getBestCmap()
    assert {ord(c) for c in letters} <= set(claimed)
    drawn = render_fields([(c, "cmsy10") for c in letters], symbols).astype(int)
    letter = render_fields([(c, "cmr10") for c in letters], files).astype(int)
    bold = render_fields([(c, "cmb10") for c in letters], files).astype(int)
    assert np.abs(drawn - letter).mean() > 2 * np.abs(bold - letter).mean()


def test_every_picture_is_of_a_character_that_the_font_lists(tables):
    missing = [
        (c.char, s) for c in glyph_classes() for s in c.styles if ord(c.char) not in tables[s]
    ]
    assert missing == []


def test_a_missing_character_would_have_drawn_a_box(files, tables):
    """Why the table decides and not the picture."""
    absent = ["\u0531", "\u10d0"]  # Armenian and Georgian
    assert not {ord(c) for c in absent} & tables["cmr10"]
    one, other = render_fields([(c, "cmr10") for c in absent], files)
    np.testing.assert_array_equal(one, other)
    assert (one > 128).any()


def test_no_picture_is_blank_or_touches_its_frame(files):
    some = glyph_classes()[::40]
    fields = render_fields([(c.char, s) for c in some for s in c.styles], files)
    assert (fields > 128).sum((1, 2)).min() >= 10
    edge = np.concatenate([fields[:, 0], fields[:, -1], fields[:, :, 0], fields[:, :, -1]])
    assert edge.max() < 64


def test_ink_is_centred_and_fitted_to_twenty_of_twenty_eight(files):
    fields = render_fields([(c, "DejaVuSans") for c in "gWl.x"[:3]], files)
    for field in fields:
        rows, columns = np.flatnonzero((field > 128).any(1)), np.flatnonzero((field > 128).any(0))
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        assert abs(longer - 40) <= 1
        assert abs(rows.mean() - 27.5) < 3
        assert abs((rows[0] + rows[-1]) / 2 - 27.5) <= 1
        assert abs((columns[0] + columns[-1]) / 2 - 27.5) <= 1


def test_the_signed_distance_is_the_exact_one_within_its_reach():
    from scipy.ndimage import distance_transform_edt

    canvas = Image.new("L", (glyph_fonts._SIDE, glyph_fonts._SIDE))
    pen = ImageDraw.Draw(canvas)
    pen.ellipse((20, 25, 80, 90), fill=255)
    pen.ellipse((40, 40, 60, 60), fill=0)
    ink = np.asarray(canvas) > 0
    exact = np.where(ink, 0.5 - distance_transform_edt(ink), distance_transform_edt(~ink) - 0.5)
    reach = glyph_fonts._FAR - 0.5
    exact = np.clip(exact, -reach, reach)
    wanted = exact.reshape(56, 2, 56, 2).mean((1, 3)) / 2
    np.testing.assert_allclose(glyph_fonts._signed_distance(ink[None])[0], wanted, atol=1e-5)


def test_layout_is_the_basic_one_whatever_pillow_was_built_with(files, monkeypatch):
    asked = []
    real = ImageFont.truetype

    def spy(*args, **kwargs):
        asked.append(kwargs["layout_engine"])
        return real(*args, **kwargs)

    monkeypatch.setattr(ImageFont, "truetype", spy)
    render_fields([("a", "cmr10")], files)
    assert asked == [ImageFont.Layout.BASIC]


def test_another_version_of_a_font_is_refused_with_what_to_do(tmp_path, monkeypatch):
    for style in STYLES:
        shutil.copy(font_folder() / f"{style}.ttf", tmp_path)
    (tmp_path / "cmr10.ttf").write_bytes(b"another font")
    monkeypatch.setattr(glyph_fonts, "font_folder", lambda: tmp_path)
    with pytest.raises(DataError, match=r"cmr10\.ttf is another version .*pip install"):
        font_files(font_hashes())
    (tmp_path / "cmr10.ttf").unlink()
    with pytest.raises(DataError, match=r"cmr10\.ttf is missing.*pip install"):
        font_files(font_hashes())


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(glyph_fonts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'metasearch\[search\]'"):
        font_folder()


def test_neither_import_nor_look_up_loads_pyplot_and_import_loads_no_matplotlib():
    code = (
        "import sys\n"
        "from metasearch.tasks.glyph_fonts import font_folder\n"
        "assert 'matplotlib' not in sys.modules\n"
        "font_folder()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'matplotlib.font_manager' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
