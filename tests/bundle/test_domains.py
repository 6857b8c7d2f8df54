"""A bundle that translates is given images of two domains, and takes others over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metasearch.algorithms.base import Adapter
from metasearch.bundle.adapted import picture, save_images
from metasearch.bundle.base import Part
from metasearch.bundle.domains import by_domain, folders_of
from metasearch.bundle.load import Bundle
from metasearch.engine.base import InnerLoop
from metasearch.errors import DataError
from metasearch.models.base import Learner
from metasearch.models.cyclegan import CycleGAN
from metasearch.models.gan import GAN
from metasearch.models.nets import Mlp
from metasearch.models.translators import Patches, Resnet
from metasearch.rng import Stream

SHAPE = (1, 8, 8)
DARK = -1.0  # paper of the training images
SMALL = {"net": Resnet(width=2, depth=0), "critic": Patches(width=2, halvings=1)}


def bundle(family, steps=0):
    learner = Learner.create(family, SHAPE, Stream(0))
    part = Part(Adapter(learner, InnerLoop(steps=steps, lr=0.01)))
    return Bundle(Path(), SHAPE, DARK, [part], {})


def images(n, seed):
    """[n, c, h, w] in [0, 1] with a dark frame."""
    x = torch.rand(n, *SHAPE, generator=Stream(seed).torch())
    x[..., [0, -1], :] = 0
    x[..., [0, -1]] = 0
    return x


@pytest.fixture
def place(tmp_path):
    """Folders as CycleGAN's data sets have them, dark on light."""
    for name, n in (("trainA", 4), ("trainB", 3), ("testA", 5)):
        save_images(1 - images(n, n), tmp_path / name)
    return tmp_path


def test_folders_of_a_pair_are_two_domains_and_what_is_to_be_translated(place):
    assert folders_of(place) == {
        "a": place / "trainA", "b": place / "trainB", "asked": place / "testA",
    }  # fmt: skip
    adapted = bundle(CycleGAN(**SMALL), steps=2).adapt(place)
    assert adapted.inverted and adapted.domains == ("a", "b")
    assert [len(adapted.given(d)) for d in adapted.domains] == [4, 3]
    made = adapted.translate(place / "testA")
    assert made.shape == (5, *SHAPE) and torch.equal(made, adapted.translate(place / "testA"))


def test_before_any_step_a_translation_is_the_image_itself(place):
    adapted = bundle(CycleGAN(**SMALL)).adapt(place)
    made = adapted.translate(place / "testA")
    torch.testing.assert_close(made, adapted.seen(place / "testA"))
    assert torch.allclose(made, 1 - images(5, 5), atol=1 / 255)
    torch.testing.assert_close(adapted.sample(9), adapted.turns(9))


def test_domains_may_be_given_by_name_and_of_different_number():
    arrays = {d: images(n, n).squeeze(1).numpy() for d, n in (("a", 2), ("b", 5))}
    adapted = bundle(CycleGAN(**SMALL), steps=1).adapt(arrays)
    assert not adapted.inverted and adapted.sample(3).shape == (3, *SHAPE)
    with pytest.raises(DataError, match=r"of \['a'\]; the model takes two domains"):
        bundle(CycleGAN(**SMALL)).adapt({"a": arrays["a"]})


def test_light_and_dark_are_exchanged_in_both_domains_or_in_none(place):
    """What is white on black in one domain alone is what the domains differ by."""
    for file in (place / "trainB").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    adapted = bundle(CycleGAN(**SMALL)).adapt(place)
    border = [float(adapted.support[d][..., 0, :].median()) for d in ("a", "b")]
    assert sorted(border) == [-1, 1]


def test_one_domain_where_two_are_wanted_and_two_where_one_is_are_refused_in_words(place):
    with pytest.raises(DataError, match=r"one folder; the model takes two domains: .*trainA and"):
        by_domain(place / "trainA", ("a", "b"))
    pair = {"a": place / "trainA", "b": place / "trainB"}
    with pytest.raises(DataError, match=r"got images of \['a', 'b'\]; the model takes images of"):
        bundle(GAN(latent=2, net=Mlp(hidden=4))).adapt(pair)
    drawing = bundle(GAN(latent=2, net=Mlp(hidden=4))).adapt(place / "trainA")
    with pytest.raises(DataError, match="translates none; use `sample`"):
        drawing.translate(place / "testA")


def test_a_picture_shows_both_domains_and_what_translations_were_made_of(place):
    adapted = bundle(CycleGAN(**SMALL)).adapt(place)
    samples = adapted.sample(4)
    plain, asked = picture(adapted, samples), picture(adapted, samples, adapted.turns(4))
    assert asked.width > plain.width and asked.height == plain.height
