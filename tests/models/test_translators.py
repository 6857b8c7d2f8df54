"""Nets from images to images: they start as the identity, and move light as torch's sampler does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metasearch.errors import ConfigError
from metasearch.models.translators import Patches, Resnet, moved, with_places
from metasearch.rng import Stream, global_torch_draws_from

IMAGES = torch.rand(3, 1, 8, 12, generator=Stream(0).torch(), dtype=torch.float64) * 2 - 1


def built(net, shape=(1, 8, 12)):
    with global_torch_draws_from(Stream(1)):
        return net.build(shape).double()


def restless(translator):
    """With weights in the last layer, which starts at zero."""
    torch.nn.init.normal_(translator.last.weight, std=0.5, generator=Stream(2).torch())
    return translator


@pytest.mark.parametrize("moves", [True, False])
def test_a_fresh_translator_leaves_an_image_as_it_is(moves):
    torch.testing.assert_close(built(Resnet(moves=moves))(IMAGES), IMAGES)


@pytest.mark.parametrize("net", [
    Resnet(), Resnet(moves=False), Resnet(skip=False, moves=False),
    Resnet(halvings=2, attention=True, upsample="nearest", norm="instance"),
], ids=str)  # fmt: skip
def test_what_is_made_of_an_image_stays_between_dark_and_light(net):
    made = restless(built(net))(IMAGES)
    assert made.shape == IMAGES.shape and made.abs().max() <= 1
    assert not torch.allclose(made, IMAGES)


def test_paint_goes_its_share_of_the_way_to_light_or_dark():
    translator = built(Resnet(moves=False))
    paint = 0.3
    torch.nn.init.constant_(translator.last.bias, float(torch.atanh(torch.tensor(paint))))
    torch.testing.assert_close(translator(IMAGES), IMAGES + paint * (1 - IMAGES))
    torch.nn.init.constant_(translator.last.bias, -float(torch.atanh(torch.tensor(paint))))
    torch.testing.assert_close(translator(IMAGES), IMAGES + paint * (-1 - IMAGES))


def test_light_moves_as_in_the_bilinear_sampler_of_torch():
    by = 0.4 * torch.randn(3, 2, 8, 12, generator=Stream(3).torch(), dtype=torch.float64)
    places = with_places(IMAGES)[:, 1:]
    grid = (places + by).movedim(1, 3)
    want = F.grid_sample(IMAGES, grid, padding_mode="border", align_corners=True)
    torch.testing.assert_close(moved(IMAGES, by), want)


def test_moving_light_by_a_pixel_takes_it_from_the_pixel_beside():
    by = torch.zeros(3, 2, 8, 12, dtype=torch.float64)
    by[:, 0] = 2 / 11  # a pixel, where twelve span two halves
    torch.testing.assert_close(moved(IMAGES, by)[..., :-1], IMAGES[..., 1:])


def test_moved_light_has_the_derivatives_that_differences_find():
    by = 0.05 + 0.1 * torch.rand(1, 2, 4, 4, generator=Stream(4).torch(), dtype=torch.float64)
    image = torch.rand(1, 1, 4, 4, generator=Stream(5).torch(), dtype=torch.float64)
    at = (image.requires_grad_(), by.requires_grad_())
    assert torch.autograd.gradcheck(moved, at)
    assert torch.autograd.gradgradcheck(moved, at)


def test_a_critic_of_patches_answers_a_logit_for_each_place():
    critic = Patches(width=4, halvings=2).encoder((1, 16, 16), 1)
    assert critic(torch.zeros(2, 1, 16, 16)).shape == (2, 16)


@pytest.mark.parametrize("make", [
    lambda: Resnet(halvings=3).build((1, 28, 28)),
    lambda: Patches(halvings=3).encoder((1, 28, 28), 1),
])  # fmt: skip
def test_a_side_that_cannot_be_halved_so_often_is_refused_in_words(make):
    with pytest.raises(
        ConfigError, match=r"28x28 pixels cannot be halved 3 times\. Lower `halvings`"
    ):
        make()


def test_moving_what_is_painted_anew_is_refused():
    with pytest.raises(ValueError, match="moves needs skip"):
        Resnet(skip=False)
