"""A gallery holds the pictures as they are, within bounds."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from metasearch.report.pictures import SIDE, gallery, strip
from metasearch.report.story import Story
from metasearch.rng import Stream
from tests.report.runs import make_run


def opened(picture):
    raw = base64.b64decode(picture.uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGBA"))


def test_ink_is_dark_and_pixels_are_kept():
    pictures = Stream(0).numpy().integers(0, 256, (5, 20, 20, 1), np.uint8)
    found = strip(pictures, "x", across=3)
    pixels = opened(found)
    gap = 1
    np.testing.assert_array_equal(pixels[:20, :20, 0], 255 - pictures[0, ..., 0])
    np.testing.assert_array_equal(pixels[20 + gap : 40 + gap, :20, 0], 255 - pictures[3, ..., 0])
    assert (pixels[:, 20, 3] == 0).all(), "what lies between pictures is see-through"
    assert found.width == 2 * pixels.shape[1]


def test_colours_are_kept_and_large_pictures_brought_down():
    pictures = np.zeros((2, 100, 50, 3), np.uint8)
    pictures[...] = (200, 10, 30)
    pixels = opened(strip(pictures, "x"))
    assert tuple(pixels[0, 0, :3]) == (200, 10, 30)
    assert pixels.shape[0] == SIDE


def test_no_pictures_are_no_strip():
    assert strip(np.zeros((0, 8, 8, 1), np.uint8), "x") is None


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    return Story.of(make_run(tmp_path_factory.mktemp("gallery") / "run", 24))


def test_the_worst_trial_that_finished_stands_last(story):
    found = gallery(story, trials=3)
    names = [c.name for c in found.columns]
    ranked = [r.info.name for r in story.leaders.records]
    assert names == [*ranked[:3], ranked[-1]]


def test_one_trial_is_marked_best_on_each_task_and_it_is(story):
    found = gallery(story, tasks=2)
    for task, _, cells in found.rows:
        (best,) = [i for i, cell in enumerate(cells) if cell.best]
        scores = [story.trial(c.trial).last.per_task[task] for c in found.columns]
        assert scores[best] == min(scores)
    assert len(found.rows) == 2


def test_pictures_stay_within_their_budget(story, monkeypatch):
    monkeypatch.setattr("metasearch.report.pictures.BUDGET", 1)
    assert len(gallery(story).columns) == 1


def test_a_notebook_shows_it(story):
    html = gallery(story)._repr_html_()
    assert html.count("<img") == len(gallery(story).rows) * (1 + len(gallery(story).columns))
