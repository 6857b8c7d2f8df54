"""The second judge of asked classes: it knows real letters, and tells when the wrong one is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.recognised import Softmax, classifiers, recognised
from metasearch.rng import Stream
from metasearch.tasks.conditional import Conditional
from metasearch.tasks.glyphs import Glyphs


@pytest.fixture(scope="module")
def letters():
    data = Conditional(source=Glyphs(size=16), classes=3).open()
    tasks = data.tasks("search")[:3]
    return data, tasks, classifiers(data, tasks, 3)


def test_a_softmax_regression_finds_what_tells_two_classes():
    """A light square on the left or on the right, under noise."""
    images = torch.randn(40, 1, 8, 8, generator=Stream(0).torch())
    labels = torch.arange(40) % 2
    for x, y in zip(images, labels.tolist(), strict=True):
        x[:, 2:6, 4 * y : 4 * y + 4] += 3
    sees = Softmax(images[:20], labels[:20])
    assert torch.equal(sees(images[20:]), labels[20:])


def test_real_letters_are_known_that_were_not_learned_from(letters):
    data, tasks, (known, real) = letters
    assert real.shape == (3,) and real.min() > 0.7  # chance is a third
    drawn = data.episodes(tasks, shot=30, query=0, rng=Stream(5).at("others")).support
    assert recognised(known, drawn).min() > 0.7


def test_what_is_drawn_of_another_class_counts_as_wrong(letters):
    data, tasks, (known, _) = letters
    drawn = data.episodes(tasks, shot=30, query=0, rng=Stream(5).at("others")).support
    right = recognised(known, drawn)
    wrong = recognised(known, {**drawn, "y": (drawn["y"] + 1) % 3})
    assert (wrong <= 1 - right + 1e-9).all() and np.mean(wrong) < 0.3
