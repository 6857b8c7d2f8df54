"""What codes are good for: the control on pixels, and the table."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.encoders import ROWS, figures, of_pixels, row
from benchmarks.recipes import SPACES, recipe
from metasearch.rng import Stream
from metasearch.tasks.glyphs import Glyphs
from metasearch.trial.judge import Panel


@pytest.fixture(scope="module")
def panel() -> Panel:
    data = Glyphs(size=16).open()
    tasks = data.tasks("search")[:6]
    rng = Stream(0).at("letters")
    return Panel(data.episodes(tasks, shot=5, query=5, rng=rng), (), None, 4)


def test_pixels_tell_images_that_were_learned_from_and_their_mates_above_chance(panel):
    same = dataclasses.replace(panel.episodes, query=panel.episodes.support)
    known = of_pixels(dataclasses.replace(panel, episodes=same))
    assert all(found == pytest.approx(np.ones(6)) for found in known.values())
    others = of_pixels(panel)
    assert all(2 / 6 < found.mean() < 1 for found in others.values())


def test_every_figure_of_the_tables_is_there():
    config = recipe(SPACES / "setvae.yaml", 16, None, None)
    assert config is not None
    few = dataclasses.replace(config, judging=dataclasses.replace(config.judging, tasks=4))
    found = figures(few, 0.2, "search")
    assert {(name, of) for name, all_of_them in ROWS.items() for of in all_of_them} <= set(found)
    assert all(len(row("setvae", name, found).split("|")) == 9 for name in ROWS)
