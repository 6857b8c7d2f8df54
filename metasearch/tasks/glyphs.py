"""The embedded default: characters drawn with the fonts that matplotlib carries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from typing import Any, Literal

import numpy as np
import PIL.features

from metasearch.errors import ConfigError
from metasearch.registry import component
from metasearch.tasks.base import Split
from metasearch.tasks.cache import cached, key_of
from metasearch.tasks.glyph_fonts import RENDERER, STYLES, font_files, render_fields
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.jitter import Jitter, Pose, draw
from metasearch.tasks.reading import (
    ImageClass,
    Reading,
    Wanted,
    check_settings,
    complain_about,
    finish,
)

SMALLEST, LARGEST = 12, 128


@component
class Glyphs:
    """A task is a character; its images are the character in the styles that have it.

    1,355 characters of 12 scripts in 4 to 20 styles. Scripts are dealt to splits whole: train
    Latin, digits, Cyrillic and Canadian syllabics (1,008), inner Arabic (52), search Greek and
    Coptic (40), confirm Hebrew and Old Italic (38), test Georgian, Armenian and Lao (217).
    Characters that look like one of an earlier split are out; `glyph_rule` tells how that was
    judged. A class may look different from style to style: some Georgian capitals do.

    With jitter each picture is the glyph turned, sheared, scaled, shifted, bent and drawn with
    another stroke, so that styles, some of which are nearly copies, never run out. Without it
    tasks are far easier and images few: a search task has at least 4.
    """

    name: Literal["glyphs"] = "glyphs"
    size: int = 28  # pixels a side, 12 to 128
    shot: int = 5
    query: int = 10
    anchor: int = 5
    jitter: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be drawn."""
        check_settings(self.size, self.shot, self.query, self.anchor)
        if not SMALLEST <= self.size <= LARGEST:
            raise ConfigError(
                f"glyphs: size {self.size} cannot be drawn well; "
                f"allowed is {SMALLEST} to {LARGEST} pixels a side."
            )

    def open(self) -> ImageTasks:
        """Draw what is not in the cache, and check for leaks: under a second, or a few at first.

        Raises:
            DataError: matplotlib's fonts are not the ones the tasks were chosen from; or jitter
                is off and too few characters have ``shot + query + anchor`` styles.
            EnvironmentFault: matplotlib is not installed.
        """
        classes = glyph_classes()
        fields = _fields(classes)
        pictures = draw(fields, Pose.neutral(len(fields)), self.size)
        reading = Reading(
            images=((pictures + 1) * 127.5).round().byte().numpy(),
            owner=np.repeat(np.arange(len(classes)), [len(c.styles) for c in classes]),
            classes=tuple(ImageClass(c.name, c.script, c.split) for c in classes),
            notes={"styles": len(STYLES)},
            fields=fields,
        )
        need = 1 if self.jitter else self.shot + self.query + self.anchor
        wanted = Wanted(need=need, invert="no")
        with complain_about("glyphs"):
            return finish(reading, wanted, Jitter() if self.jitter else None)


@dataclass(frozen=True)
class GlyphClass:
    """One line of the manifest."""

    script: str
    name: str
    char: str
    styles: tuple[str, ...]
    split: Split


def glyph_classes() -> Sequence[GlyphClass]:
    """The classes of ``glyphs.json``, in its order."""
    data = _manifest()
    split_of = {script: split for split, scripts in data["splits"].items() for script in scripts}
    return [
        GlyphClass(
            script=c["script"],
            name=c["name"],
            char=c["char"],
            styles=tuple(STYLES[i] for i in c["styles"]),
            split=split_of[c["script"]],
        )
        for c in data["classes"]
    ]


def font_hashes() -> Mapping[str, str]:
    """SHA-256 of the font file of each style that the classes were chosen from."""
    return _manifest()["fonts"]


@cache
def _manifest() -> dict[str, Any]:
    return json.loads((package_files("metasearch.tasks") / "glyphs.json").read_text())


def _fields(classes: Sequence[GlyphClass]) -> np.ndarray:
    """The fields of every style of every class, in their order, uint8 [n, FIELD, FIELD]."""
    files = font_files(font_hashes())
    pairs = [(c.char, style) for c in classes for style in c.styles]
    recipe = [RENDERER, PIL.features.version("freetype2"), dict(font_hashes()), pairs]
    return cached("glyphs", key_of(recipe), lambda: {"fields": render_fields(pairs, files)})[
        "fields"
    ]
