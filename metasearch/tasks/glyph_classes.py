"""The characters of the glyph tasks, as `glyph_rule` chose them, and their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from typing import Any

import numpy as np
import PIL.features

from metasearch.tasks.base import Split
from metasearch.tasks.cache import cached, key_of
from metasearch.tasks.glyph_fonts import RENDERER, STYLES, font_files, render_fields


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
    data = manifest()
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
    return manifest()["fonts"]


@cache
def manifest() -> dict[str, Any]:
    """What ``glyphs.json`` holds; `glyph_rule` wrote it."""
    return json.loads((package_files("metasearch.tasks") / "glyphs.json").read_text())


def glyph_fields(classes: Sequence[GlyphClass]) -> np.ndarray:
    """The fields of every style of every class, in their order, uint8 [n, FIELD, FIELD].

    Raises:
        DataError: matplotlib's fonts are not the ones the classes were chosen from.
        EnvironmentFault: matplotlib is not installed.
    """
    files = font_files(font_hashes())
    pairs = [(c.char, style) for c in classes for style in c.styles]
    recipe = [RENDERER, PIL.features.version("freetype2"), dict(font_hashes()), pairs]
    return cached("glyphs", key_of(recipe), lambda: {"fields": render_fields(pairs, files)})[
        "fields"
    ]
