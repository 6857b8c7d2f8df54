"""The fonts inside the matplotlib wheel, and how one character of one of them becomes a picture.

Only fonts whose letters are what their tables say are used. Left out on purpose:

- ``LastResortHE-Regular`` claims all of Unicode and draws boxes.
- ``cmsy10`` and ``cmex10`` claim A-Z, a-z, 0-9 and draw other symbols; ``cmmi10`` adds nothing.
- ``cmti10`` is missing in matplotlib 3.10.
- ``STIXNonUni*``, ``STIXSiz*`` and ``DejaVu*Display`` hold private signs or next to nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metasearch.errors import DataError, EnvironmentFault
from metasearch.tasks.jitter import FIELD, REACH, encode_distance

STYLES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
)

RENDERER = 1  # raise when a picture changes, so that cached ones are made anew

_FONT_SIZE = 96  # pixels per em: the ink of most letters is then near _LONG
_OVER = 2  # outlines are found on a raster so much finer than a field
_SIDE = FIELD * _OVER
_LONG = _SIDE * 20 // 28  # the longer side of every glyph's ink
_FAR = int(REACH) * _OVER  # distances beyond are not looked for
_CANVAS = 4 * _FONT_SIZE
_BATCH = 64  # rasters worked on at once: stays in the processor's cache


def font_folder() -> Path:
    """Where the installed matplotlib keeps its TrueType fonts.

    Raises:
        EnvironmentFault: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise EnvironmentFault(
            "glyphs: the pictures are drawn with the fonts inside matplotlib, which is not "
            "installed. Run `pip install 'metasearch[search]'`, or use another task source."
        )
    import matplotlib as mpl  # not pyplot: no display, no font cache

    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def font_files(expected: Mapping[str, str]) -> dict[str, Path]:
    """The font file of each style, known to be the one the tasks were chosen from.

    Args:
        expected: SHA-256 of each style's file.

    Raises:
        DataError: a file is missing or another version.
        EnvironmentFault: matplotlib is not installed.
    """
    folder = font_folder()
    files = {style: folder / f"{style}.ttf" for style in expected}
    advice = (
        "The glyph tasks are defined by the fonts of matplotlib 3.10 to 3.11 as on PyPI; install "
        "one with `pip install --force-reinstall 'matplotlib>=3.10,<3.12'`, or use another task "
        "source."
    )
    for style, path in files.items():
        if not path.is_file():
            raise DataError(f"glyphs: the font {path} is missing. {advice}")
        found = sha256_of(path)
        if found != expected[style]:
            raise DataError(
                f"glyphs: the font {path} is another version (sha256 {found[:12]}... instead of "
                f"{expected[style][:12]}...). {advice}"
            )
    return files


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def render_fields(glyphs: Sequence[tuple[str, str]], files: Mapping[str, Path]) -> np.ndarray:
    """Signed distance fields of (character, style) pairs, uint8 [n, FIELD, FIELD].

    The ink is centred and its longer side fitted to 20/28 of the frame, so a letter is told by
    its form, not by size or place. Whether a font has the character is for its table to say, not
    for the picture: a missing one draws a box.

    Args:
        glyphs: what to draw.
        files: font file of each style.
    """
    fonts = {
        style: ImageFont.truetype(files[style], _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
        for style in {style for _, style in glyphs}
    }  # BASIC, so that a picture does not depend on whether Pillow found libraqm
    out = np.empty((len(glyphs), FIELD, FIELD), np.uint8)
    for start in range(0, len(glyphs), _BATCH):
        batch = glyphs[start : start + _BATCH]
        inks = np.stack([_raster(char, fonts[style]) for char, style in batch])
        out[start : start + len(batch)] = encode_distance(_signed_distance(inks))
    return out


def _raster(char: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """Ink as True, [_SIDE, _SIDE]."""
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    ImageDraw.Draw(canvas).text((_CANVAS // 4, _CANVAS // 4), char, fill=255, font=font)
    box = canvas.getbbox()
    assert box is not None, f"U+{ord(char):04X} has no ink, although the font's table lists it"
    left, top, right, bottom = box
    zoom = _LONG / max(right - left, bottom - top)
    size = max(1, round((right - left) * zoom)), max(1, round((bottom - top) * zoom))
    ink = np.asarray(canvas.resize(size, Image.Resampling.BICUBIC, box)) >= 128
    out = np.zeros((_SIDE, _SIDE), bool)
    x, y = (_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2
    out[y : y + size[1], x : x + size[0]] = ink
    return out


def _signed_distance(inks: np.ndarray) -> np.ndarray:
    """Distance to the outline in field pixels, negative in ink, [n, FIELD, FIELD]."""
    squared = np.where(inks, _squared_distance(~inks), _squared_distance(inks))
    code = np.minimum(squared, 127)
    code[inks] |= 128
    # The outline runs between the last pixel of ink and the first of paper: half a pixel off both.
    outside = np.minimum(np.sqrt(np.arange(128, dtype=np.float32)), _FAR) - 0.5
    fine = np.concatenate([outside, -outside])[code]
    corners = [fine[:, i::_OVER, j::_OVER] for i in range(_OVER) for j in range(_OVER)]
    return np.mean(corners, axis=0) / _OVER


def _squared_distance(marks: np.ndarray) -> np.ndarray:
    """Squared distance from each pixel to the nearest mark, where it is at most _FAR; uint8.

    One axis after the other, since the square of a distance is the sum of its squares along both.
    Source: Felzenszwalb & Huttenlocher, "Distance Transforms of Sampled Functions", 2012, section
    2.1. Differs: the lower envelope is taken over at most _FAR neighbours, by brute force on
    bytes, which for a whole batch is several times faster than an exact transform.
    """
    distance = np.where(marks, 0, 127).astype(np.uint8)  # 127: far; 127 + _FAR**2 fits a byte
    for axis in (1, 2):
        before = np.moveaxis(distance, axis, 0)
        after = before.copy("K")  # as it lies in memory: the axis is a view
        for step in range(1, _FAR + 1):
            moved = before + np.uint8(step * step)
            np.minimum(after[step:], moved[:-step], out=after[step:])
            np.minimum(after[:-step], moved[step:], out=after[:-step])
        distance = np.moveaxis(after, 0, axis)
    return distance
