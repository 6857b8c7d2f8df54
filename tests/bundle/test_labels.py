"""A bundle that draws by class is told the class of each image."""

from __future__ import annotations

import pytest
import torch

from metasearch.algorithms.base import Adapter
from metasearch.bundle.adapted import Adaptation
from metasearch.bundle.base import Part
from metasearch.engine.base import InnerLoop
from metasearch.errors import DataError
from metasearch.models.base import Learner
from metasearch.models.cgan import CGAN
from metasearch.models.gan import GAN
from metasearch.models.nets import Mlp
from metasearch.rng import Stream

SHAPE = (1, 8, 8)
IMAGES = torch.rand(4, *SHAPE, generator=Stream(0).torch()) * 2 - 1


def part(family):
    learner = Learner.create(family, SHAPE, Stream(0))
    return Part(Adapter(learner, InnerLoop(steps=2, lr=0.01)), 1.0)


@pytest.mark.parametrize("condition", ["slots", "sets"])
def test_images_are_drawn_for_the_classes_of_ones_own_in_turn(condition):
    family = CGAN(classes=2, condition=condition, latent=3, embedding=4, net=Mlp(hidden=8))
    one, two = (
        Adaptation.learn([part(family)], {"x": IMAGES}, labels=labels)
        for labels in ([0, 1, 0, 1], [0, 1, 0, -1])
    )
    assert one.support["y"].tolist() == [0, 1, 0, 1]
    drawn = one.sample(6, seed=1)
    assert drawn.shape == (6, *SHAPE) and torch.equal(drawn, one.sample(6, seed=1))
    assert two.sample(6).isfinite().all()


@pytest.mark.parametrize("labels", [None, [0, 1], [0, 1, 2, 0], [0, 1, -2, 0]])
def test_labels_that_are_missing_or_do_not_fit_are_refused_in_words(labels):
    family = CGAN(classes=2, latent=3, net=Mlp(hidden=8))
    with pytest.raises(DataError, match="one for each of the 4 images; allowed are 0 to 1"):
        Adaptation.learn([part(family)], {"x": IMAGES}, labels=labels)


def test_a_model_of_one_class_needs_none():
    assert set(
        Adaptation.learn([part(GAN(latent=3, net=Mlp(hidden=8)))], {"x": IMAGES}).support
    ) == {"x"}
