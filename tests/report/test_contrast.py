"""Words can be read on what lies under them, on a light page and on a dark one.

Tools that look for such faults pass over the words of a drawing, so they are judged here: each is
taken off its drawing, and compared with the pixels that were under it.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from PIL import ImageColor

from metasearch.drawing import raster
from metasearch.drawing.scene import LIGHT, Label, Scene, text_width
from metasearch.report import PLOTS, Story
from metasearch.report.page import ASSETS
from metasearch.report.plots import bought, evenness, strategy
from tests.report.runs import add_evidence, make_run

STYLE = (ASSETS / "style.css").read_text("utf-8")
LEAST = 4.5  # Web Content Accessibility Guidelines 2.2, 1.4.3, for small text
CROSSED = 0.1  # of what is under a word, a thin line may cross
ON_THE_PAGE = [
    *((text, ground) for text in ("ink", "soft", "accent") for ground in ("page", "paper")),
    *((text, "winner") for text in ("ink", "accent")),
    *(("good", "good-back"), ("warm", "open-back"), ("bad", "bad-back"), ("ink", "rule")),
    *((text, "paper") for text in ("good", "bad")),
]


def palette(theme: str) -> dict[str, str]:
    """What each role looks like: in the page's variables, and where it has none, in drawings."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    told = dict(LIGHT) | variables(light)
    return told | variables(dark) if theme == "dark" else told


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#\w+);", block))


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance of sRGB colours [..., 3] from 0 to 255, as the guidelines define it."""
    part = np.asarray(colours, np.float64) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    a, b = luminance(one), luminance(other)
    return (np.maximum(a, b) + 0.05) / (np.minimum(a, b) + 0.05)


def rgb(colour: str) -> np.ndarray:
    return np.array(ImageColor.getrgb(colour)[:3])


def unreadable(scene: Scene, colours: dict[str, str]) -> list[str]:
    """Words of which more than a thin line's worth stands on ground too like them."""
    labels = [mark for mark in scene.marks if isinstance(mark, Label)]
    bare = [mark for mark in scene.marks if not isinstance(mark, Label)]
    ground = np.asarray(raster.to_image(dataclasses.replace(scene, marks=bare), 1.0))
    found = []
    for label in labels:
        wide = text_width(label.text, label.size) * 0.9  # the estimate is on the wide side
        left = label.x - {"start": 0, "middle": wide / 2, "end": wide}[label.anchor]
        rows = slice(max(round(label.y - 0.75 * label.size), 0), round(label.y) + 1)
        under = ground[rows, max(round(left), 0) : round(left + wide) + 1].reshape(-1, 3)
        low = contrast(under, rgb(colours[label.colour])) < LEAST
        if len(under) and low.mean() > CROSSED:
            found.append(f"{scene.title}: {label.text!r} in {label.colour}")
    return found


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> list[Scene]:
    """Every kind of drawing that a page may have."""
    run = make_run(tmp_path_factory.mktemp("runs") / "made", 16)
    add_evidence(run)
    story = Story.of(run)
    drawn = [plot(story) for plot in PLOTS.values()]
    leader = story.leaders.records[0].number
    drawn += [*bought(story), *strategy(story, leader).values(), evenness(story, leader)]
    return [scene for scene in drawn if scene is not None]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_word_of_every_drawing_can_be_read(scenes, theme, monkeypatch):
    colours = palette(theme)
    monkeypatch.setattr(raster, "LIGHT", colours)
    assert len(scenes) >= len(PLOTS)
    assert sum(isinstance(mark, Label) for scene in scenes for mark in scene.marks) > 100
    assert not [told for scene in scenes for told in unreadable(scene, colours)]


def test_a_word_on_its_own_colour_is_found(monkeypatch):
    colours = palette("dark")
    monkeypatch.setattr(raster, "LIGHT", colours)
    lost = Scene(100, 40, "t", "a", [Label(10, 20, "word", "paper")])
    assert unreadable(lost, colours)
    assert not unreadable(dataclasses.replace(lost, marks=[Label(10, 20, "word", "ink")]), colours)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), ON_THE_PAGE)
def test_words_of_the_page_can_be_read(theme, text, ground):
    colours = palette(theme)
    assert contrast(rgb(colours[text]), rgb(colours[ground])) >= LEAST
