"""A bundle that draws with a pen adapts to pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from metasearch.algorithms.base import Adapter
from metasearch.bundle.base import Part
from metasearch.bundle.load import load_bundle
from metasearch.bundle.save import save_bundle
from metasearch.engine.base import InnerLoop
from metasearch.errors import DataError
from metasearch.models.base import Learner
from metasearch.models.rgan import RGAN, Pen
from metasearch.rng import Stream
from tests.tasks.test_tracing import picture


@pytest.fixture
def pen(contents, tmp_path):
    learner = Learner.create(RGAN(latent=4, hidden=8, draws=Pen()), (1, 28, 28), Stream(0))
    parts = [Part(Adapter(learner, InnerLoop(steps=2, lr=0.01)))]
    return load_bundle(save_bundle(replace(contents, parts=parts, pen_steps=12), tmp_path / "pen"))


@pytest.mark.parametrize("dark_on_light", [False, True])
def test_it_adapts_to_pictures_and_draws_pictures(pen, dark_on_light):
    light = (torch.cat([picture("cross"), picture("corner")]) + 1) / 2
    shown = (1 - light if dark_on_light else light).permute(0, 2, 3, 1).numpy()
    adapted = pen.adapt(shown)
    assert adapted.support["t"].shape == (2, 12, 3)
    drawn = adapted.sample(3)
    assert drawn.shape == (3, 1, 28, 28)
    assert torch.equal(drawn, pen.adapt(shown).sample(3))
    assert not torch.equal(drawn, pen.adapt(shown, steps=0).sample(3))


def test_a_blank_picture_is_refused_in_words(pen):
    blank = torch.zeros(2, 28, 28, 1).numpy()
    with pytest.raises(DataError, match="no lines that a pen could draw"):
        pen.adapt(blank)
