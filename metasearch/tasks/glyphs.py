"""The embedded default: characters drawn with the fonts that matplotlib carries."""

from __future__ import annotations

from typing import Literal

import numpy as np

from metasearch.errors import ConfigError
from metasearch.registry import component
from metasearch.tasks.glyph_classes import glyph_classes, glyph_fields
from metasearch.tasks.glyph_fonts import STYLES
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.jitter import Jitter, Pose, draw
from metasearch.tasks.licence import FONTS
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

    @property
    def licence(self) -> str:
        """Terms of the images."""
        return FONTS

    def open(self) -> ImageTasks:
        """Draw what is not in the cache, and check for leaks: under a second, or a few at first.

        Raises:
            DataError: matplotlib's fonts are not the ones the tasks were chosen from; or jitter
                is off and too few characters have ``shot + query + anchor`` styles.
            EnvironmentFault: matplotlib is not installed.
        """
        classes = glyph_classes()
        fields = glyph_fields(classes)
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
