"""What a conditional game is: who sees which class, and what an unlabelled image teaches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metasearch.models.adversarial import NonSaturating
from metasearch.models.base import Learner, example
from metasearch.models.cgan import CGAN
from metasearch.models.discrepancy import energy
from metasearch.models.nets import Mlp
from metasearch.rng import Stream

SHAPE = (1, 4, 4)
SMALL = {
    "latent": 3,
    "net": Mlp(hidden=8),
    "classes": 3,
    "embedding": 5,
    "objective": NonSaturating(r1=0),
}


def game(n=6, **settings):
    family = CGAN(**(SMALL | settings))
    learner = Learner.create(family, SHAPE, Stream(0))
    batch = {**example(family.domains, SHAPE, n, Stream(1)), "y": torch.arange(n) % 3}
    return family, learner.nets, batch, family.draw(batch, Stream(2))


def asking(batch, *labels):
    return {**batch, "y": torch.tensor(labels)}


def test_the_discriminator_is_the_projection_of_a_class_on_the_image():
    family, nets, batch, noise = game()
    out = nets["discriminator"](batch["x"])
    real = out[:, 0] + out.gather(1, 1 + batch["y"].unsqueeze(1)).squeeze(1)
    made = family.generate(nets, batch, noise)["x"]
    out = nets["discriminator"](made)
    fake = out[:, 0] + out.gather(1, 1 + batch["y"].unsqueeze(1)).squeeze(1)
    want = F.softplus(-real) + F.softplus(fake)
    torch.testing.assert_close(family.loss("discriminator", nets, batch, noise), want)
    want = F.softplus(-fake)
    torch.testing.assert_close(family.loss("generator", nets, batch, noise), want)


def test_an_unlabelled_image_is_judged_without_a_class_by_both_players():
    family, nets, batch, noise = game()
    blank = asking(batch, *[-1] * 6)
    real = nets["discriminator"](batch["x"])[:, 0]
    fake = nets["discriminator"](family.generate(nets, blank, noise)["x"])[:, 0]
    want = F.softplus(-real) + F.softplus(fake)
    torch.testing.assert_close(family.loss("discriminator", nets, blank, noise), want)
    torch.testing.assert_close(family.loss("generator", nets, blank, noise), F.softplus(-fake))


def test_a_row_without_a_label_draws_a_slot_and_says_which():
    family, nets, batch, noise = game()
    made = family.generate(nets, asking(batch, -1, 0, -1, 1, -1, 2), noise)
    assert made["y"][1::2].tolist() == [0, 1, 2]
    assert torch.equal(made["y"][::2], noise["slot"][::2])
    told = family.generate(nets, {**batch, "y": made["y"]}, noise)
    torch.testing.assert_close(told["x"], made["x"])
    many = family.draw({"x": torch.zeros(300, *SHAPE)}, Stream(0))["slot"]
    assert (torch.bincount(many, minlength=3) > 60).all()


@pytest.mark.parametrize("condition", ["slots", "sets"])
def test_the_same_noise_makes_another_image_for_another_class(condition):
    family, nets, batch, noise = game(condition=condition)
    other = {**batch, "y": (batch["y"] + 1) % 3}
    if condition == "sets":
        other["given"] = batch["given"].roll(2, 0)
    one, two = (family.generate(nets, b, noise)["x"] for b in (batch, other))
    assert (one - two).abs().flatten(1).amax(1).min() > 1e-3


def test_the_order_of_a_set_does_not_matter():
    family, nets, batch, noise = game(condition="sets")
    turned = {**batch, "given": batch["given"].flip(1), "heard": batch["heard"].flip(1)}
    for player in family.players:
        torch.testing.assert_close(
            family.loss(player, nets, batch, noise), family.loss(player, nets, turned, noise)
        )


@pytest.mark.parametrize("condition", ["slots", "sets"])
def test_the_generator_also_descends_the_energy_distance_within_each_class(condition):
    """Two drawings of a row's class against its image; not where the class is not told."""
    plain, nets, batch, _ = game(condition=condition)
    family = CGAN(**SMALL, condition=condition, energy=2.0)
    noise = family.draw(batch, Stream(2))
    batch = {**batch, "y": torch.tensor([0, 1, 2, -1, 0, -1])}
    drawn, again = (
        family.generate(nets, batch, {**noise, "z": z})["x"] for z in (noise["z"], noise["again"])
    )
    apart = energy(torch.stack([drawn, again], 1), batch["x"])
    apart[[3, 5]] = 0
    want = plain.loss("generator", nets, batch, noise) + 2 * apart
    torch.testing.assert_close(family.loss("generator", nets, batch, noise), want)
    for key in plain.draw(batch, Stream(2)):
        assert torch.equal(plain.draw(batch, Stream(2))[key], noise[key])
    one = plain.loss("discriminator", nets, batch, noise)
    torch.testing.assert_close(family.loss("discriminator", nets, batch, noise), one)


def test_what_stands_for_a_set_is_as_loud_whatever_its_encoder():
    """An encoder that learned to shout tells a generator no more than one that whispers."""
    family, nets, batch, noise = game(condition="sets")
    quiet = family.generate(nets, batch, noise)["x"]
    sets = nets["generator_sets"]
    loud = {**nets, "generator_sets": lambda x: 1000 * sets(x)}
    torch.testing.assert_close(family.generate(loud, batch, noise)["x"], quiet, atol=1e-2, rtol=0)
    deaf = {**batch, "heard": torch.zeros_like(batch["heard"])}
    assert family.generate(loud, deaf, noise)["x"].isfinite().all()


def test_with_sets_a_class_has_no_number():
    family, nets, batch, noise = game(condition="sets")
    renamed = asking(batch, 2, 1, 0, 1, 0, 2)
    assert torch.equal(
        family.generate(nets, batch, noise)["x"], family.generate(nets, renamed, noise)["x"]
    )


def test_turns_are_as_many_as_asked_for():
    assert CGAN(critic_steps=2, generator_steps=3).turns == (
        *("discriminator",) * 2, *("generator",) * 3
    )  # fmt: skip


def test_a_class_alone_is_no_condition():
    with pytest.raises(ValueError, match="classes must be at least 2"):
        CGAN(classes=1)
