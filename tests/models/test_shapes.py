"""What is built of shapes alone is what would be built."""

from __future__ import annotations

from typing import Literal

import pytest

import metasearch
from metasearch.errors import ConfigError
from metasearch.models import MODELS
from metasearch.models.base import Learner
from metasearch.models.gan import GAN
from metasearch.models.nets import Conv, Mlp
from metasearch.models.shapes import of_shapes
from metasearch.models.vae import VAE
from metasearch.rng import Stream

SHAPE = (1, 16, 16)


@pytest.mark.parametrize("name", MODELS)
def test_its_weights_have_the_names_and_shapes_of_real_ones_and_no_memory(name):
    family = MODELS[name]()
    light = of_shapes(family, SHAPE).parameters()
    real = Learner.create(family, SHAPE, Stream(0)).parameters()
    assert {k: p.shape for k, p in light.items()} == {k: p.shape for k, p in real.items()}
    assert {p.device.type for p in light.values()} <= {"meta"}


def test_equal_families_share_one_and_different_ones_do_not():
    assert of_shapes(VAE(latent=3), SHAPE) is of_shapes(VAE(latent=3), SHAPE)
    assert of_shapes(VAE(latent=3), SHAPE) is not of_shapes(VAE(latent=4), SHAPE)
    assert of_shapes(VAE(latent=3), SHAPE) is not of_shapes(VAE(latent=3), (1, 28, 28))


def test_a_shape_that_does_not_suit_is_refused_each_time():
    for _ in range(2):
        with pytest.raises(ConfigError, match="does not come out even"):
            of_shapes(GAN(net=Conv()), (1, 17, 17))


def test_a_family_with_a_setting_that_has_no_hash_is_built():
    @metasearch.component
    class Listed(VAE):
        """Of mine."""

        name: Literal["listed"] = "listed"
        more: list[int] | None = None

    assert of_shapes(Listed(net=Mlp(hidden=4), more=[1]), SHAPE).parameters()
