"""A scene as pixels, for viewers that show pictures alone."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

from metasearch.drawing.scene import LIGHT, Area, Dot, Label, Line, Point, Scene

SHARP = 2  # drawn so many times as large, and brought down again, for smooth edges
FONT = "DejaVuSans.ttf"
BOLD = "DejaVuSans-Bold.ttf"
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def to_image(scene: Scene, scale: float = 1.5) -> Image.Image:
    """An RGB picture on white, `scale` pixels for each of the scene's."""
    painter = _Painter(scene, scale * SHARP)
    for mark in scene.marks:
        painter.paint(mark)
    size = (round(scene.width * scale), round(scene.height * scale))
    return painter.sheet.resize(size, Image.Resampling.BOX)


def small_png(image: Image.Image) -> bytes:
    """A drawing as a file; it has few colours, which takes a third of the bytes."""
    few = image.quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="PNG")
    return buffer.getvalue()


def font(size: float, name: str = FONT) -> ImageFont.FreeTypeFont:
    """DejaVu Sans where matplotlib is installed, for its many scripts; else what Pillow carries."""
    for package in _locations("matplotlib"):
        path = Path(package) / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return _loaded(path, size)
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)  # asking for a size gives a scalable font
    return found


def _locations(package: str) -> Sequence[str]:
    spec = importlib.util.find_spec(package)  # importing it would take a second
    return list(spec.submodule_search_locations or ()) if spec else []


@cache
def _loaded(path: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


class _Painter:
    """Paints marks on a sheet, one over the other."""

    def __init__(self, scene: Scene, scale: float) -> None:
        self.scale = scale
        size = (round(scene.width * scale), round(scene.height * scale))
        self.sheet = Image.new("RGB", size, LIGHT["paper"])
        self.pen = ImageDraw.Draw(self.sheet, "RGBA")
        self.font = cache(font)  # where they lie is looked up once for a sheet

    def paint(self, mark: Line | Area | Dot | Label) -> None:
        if isinstance(mark, Line):
            self._line(mark)
        elif isinstance(mark, Area):
            self.pen.polygon([self._at(p) for p in mark.points], _colour(mark.colour, mark.opacity))
        elif isinstance(mark, Dot):
            self._dot(mark)
        else:
            name = BOLD if mark.bold else FONT
            shown = self.font(mark.size * self.scale * 0.93, name)  # DejaVu is a wide face
            place = self._at((mark.x, mark.y))
            anchor = _ANCHORS[mark.anchor]
            self.pen.text(place, mark.text, _colour(mark.colour), shown, anchor=anchor)

    def _line(self, mark: Line) -> None:
        width = max(1, round(mark.width * self.scale))
        points = [self._at(p) for p in mark.points]
        for part in _dashes(points, 4 * self.scale) if mark.dashed else [points]:
            self.pen.line(part, _colour(mark.colour, mark.opacity), width, joint="curve")

    def _dot(self, mark: Dot) -> None:
        place = self._at((mark.x, mark.y))
        fill = _colour("paper" if mark.hollow else mark.colour)
        ring = _colour(mark.colour)
        width = max(1, round(1.5 * self.scale))
        self.pen.circle(place, mark.radius * self.scale, fill, ring, width)

    def _at(self, point: Point) -> Point:
        return point[0] * self.scale, point[1] * self.scale


def _dashes(points: list[Point], length: float) -> list[list[Point]]:
    """Pieces of a line with gaps as long as they are."""
    found = []
    for (x0, y0), (x1, y1) in pairwise(points):
        whole = max(((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5, 1e-9)
        for i in range(0, int(whole / length) + 1, 2):
            ends = [min(k * length / whole, 1.0) for k in (i, i + 1)]
            found.append([(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in ends])
    return found


def _colour(role: str, opacity: float = 1.0) -> tuple[int, ...]:
    red, green, blue = ImageColor.getrgb(LIGHT[role])[:3]
    return red, green, blue, round(255 * opacity)
