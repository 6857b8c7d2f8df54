"""What a judge shows: of translations whose truth is known, the truth beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from metasearch.algorithms.base import Adapter
from metasearch.engine import Loop
from metasearch.engine.base import InnerLoop
from metasearch.models.base import Learner
from metasearch.models.cyclegan import CycleGAN
from metasearch.models.translators import Patches, Resnet
from metasearch.rng import Stream
from metasearch.scores import SCORES
from metasearch.tasks.base import Episodes
from metasearch.trial.judge import Panel, judge

TASKS = ("g/one", "g/two")


@pytest.fixture
def panel():
    make = Stream(0).torch()

    def part(n):
        return {d: torch.rand(2 * n, 1, 8, 8, generator=make) * 2 - 1 for d in "ab"}

    episodes = Episodes(TASKS, part(3), part(4), part(0), paired=True)
    return Panel(episodes, (SCORES["cycle"](),), None, 3)


@pytest.fixture
def adapter():
    family = CycleGAN(net=Resnet(width=4, depth=0), critic=Patches(width=4))
    learner = Learner.create(family, (1, 8, 8), Stream(1))
    return Adapter(learner, InnerLoop(steps=3, lr=0.05))


def halves(pictures):
    """Above and below of [tasks, n, 2h, w, 1], as light in [-1, 1]."""
    light = torch.from_numpy(pictures).float().movedim(-1, 2) / 127.5 - 1
    return light.tensor_split(2, 3)


def test_translations_stand_beside_what_they_should_be(panel, adapter):
    grid = judge(adapter, Loop(), panel).grid
    query = {d: x.reshape(2, 4, 1, 8, 8) for d, x in panel.episodes.query.items()}
    for pictures in (grid.before, grid.after, grid.truth):
        torch.testing.assert_close(halves(pictures)[0], query["a"], rtol=0, atol=0.005)
    torch.testing.assert_close(halves(grid.truth)[1], query["b"], rtol=0, atol=0.005)
    # A fresh translator leaves images as they are, and three steps change them.
    torch.testing.assert_close(halves(grid.before)[1], query["a"], rtol=0, atol=0.005)
    assert not np.array_equal(grid.after, grid.before)


def test_where_no_truth_is_known_none_is_shown(panel, adapter):
    unpaired = replace(panel, episodes=replace(panel.episodes, paired=False))
    assert judge(adapter, Loop(), unpaired).grid.truth is None
