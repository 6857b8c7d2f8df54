"""The losses of translators and their critics, against the paper's equations taken by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metasearch.algorithms import IMAML
from metasearch.models.adversarial import Hinge, LeastSquares, NonSaturating
from metasearch.models.base import Learner, TranslatorModel, example
from metasearch.models.cyclegan import CycleGAN
from metasearch.models.mixture import mixture_of
from metasearch.models.untouched import Untouched
from metasearch.rng import Stream
from metasearch.scores.base import lacks
from metasearch.trial.compatibility import misfit

BATCH = example(("a", "b"), (1, 4, 4), 5, Stream(0), dtype=torch.float64)
MIX = {"mix": torch.full((5, 1, 1, 1), 0.5, dtype=torch.float64)}


def by_hand(**settings):
    """A game whose translators dim and shift, and whose critics are means of a few pixels."""
    settings = {"objective": LeastSquares(r1=0), "cycle": 0, "identity": 0} | settings
    nets = {
        "a_to_b": lambda x: 0.5 * x + 0.1,
        "b_to_a": lambda x: x - 0.2,
        "critic_a": lambda x: x[:, 0, 0].mean(1),
        "critic_b": lambda x: 2 * x[:, 0, 1].mean(1) + 0.3,
    }
    return CycleGAN(**settings), nets


def logits(nets):
    a, b = BATCH["a"], BATCH["b"]
    fake_b, fake_a = 0.5 * a + 0.1, b - 0.2
    critics = nets["critic_a"], nets["critic_b"]
    return [c(x) for c, x in zip(critics, (a, b), strict=True)], [
        c(x) for c, x in zip(critics, (fake_a, fake_b), strict=True)
    ]


def test_critics_descend_least_squares_of_both_domains():
    family, nets = by_hand()
    real, fake = logits(nets)
    want = sum(((r - 1) ** 2 + f**2) / 2 for r, f in zip(real, fake, strict=True))
    torch.testing.assert_close(family.loss("critics", nets, BATCH, MIX), want)


def test_translators_want_to_be_taken_for_real_in_both_domains():
    family, nets = by_hand()
    want = sum((f - 1) ** 2 / 2 for f in logits(nets)[1])
    torch.testing.assert_close(family.loss("translators", nets, BATCH, MIX), want)


@pytest.mark.parametrize(("objective", "critic", "translator"), [
    (NonSaturating(r1=0), lambda r, f: F.softplus(-r) + F.softplus(f), lambda f: F.softplus(-f)),
    (Hinge(r1=0), lambda r, f: F.relu(1 - r) + F.relu(1 + f), lambda f: -f),
])  # fmt: skip
def test_other_objectives_are_added_up_alike(objective, critic, translator):
    family, nets = by_hand(objective=objective)
    real, fake = logits(nets)
    want = sum(critic(r, f) for r, f in zip(real, fake, strict=True))
    torch.testing.assert_close(family.loss("critics", nets, BATCH, MIX), want)
    want = sum(translator(f) for f in fake)
    torch.testing.assert_close(family.loss("translators", nets, BATCH, MIX), want)


def test_not_coming_back_costs_the_mean_absolute_difference_of_both_ways():
    free, nets = by_hand()
    bound, _ = by_hand(cycle=7.0)
    a, b = BATCH["a"], BATCH["b"]
    there_and_back = (0.5 * a + 0.1 - 0.2 - a).abs().mean((1, 2, 3))
    back_and_there = (0.5 * (b - 0.2) + 0.1 - b).abs().mean((1, 2, 3))
    extra = bound.loss("translators", nets, BATCH, MIX) - free.loss("translators", nets, BATCH, MIX)
    torch.testing.assert_close(extra, 7 * (there_and_back + back_and_there))


def test_changing_what_is_there_already_costs_the_mean_absolute_difference():
    free, nets = by_hand()
    bound, _ = by_hand(identity=3.0)
    a, b = BATCH["a"], BATCH["b"]
    changed = (0.5 * b + 0.1 - b).abs().mean((1, 2, 3)) + (a - 0.2 - a).abs().mean((1, 2, 3))
    extra = bound.loss("translators", nets, BATCH, MIX) - free.loss("translators", nets, BATCH, MIX)
    torch.testing.assert_close(extra, 3 * changed)


def test_the_loss_of_a_map_of_logits_is_the_mean_over_its_places():
    family, nets = by_hand()
    nets |= {"critic_a": lambda x: x[:, 0, 0], "critic_b": lambda x: x[:, 0, 1]}
    fakes = (BATCH["b"] - 0.2)[:, 0, 0], (0.5 * BATCH["a"] + 0.1)[:, 0, 1]
    want = sum(((f - 1) ** 2 / 2).mean(1) for f in fakes)
    torch.testing.assert_close(family.loss("translators", nets, BATCH, MIX), want)


def test_both_directions_start_at_the_same_weights_and_share_none():
    nets = Learner.create(CycleGAN(), (1, 16, 16), Stream(0)).nets
    for one, two in (("a_to_b", "b_to_a"), ("critic_a", "critic_b")):
        for p, q in zip(nets[one].parameters(), nets[two].parameters(), strict=True):
            assert torch.equal(p, q) and p is not q


def test_what_is_drawn_are_translations_of_the_support_from_a_to_b_first():
    family, nets = by_hand()
    drawn = family.generate(nets, BATCH, MIX)
    assert list(drawn) == ["b", "a"]
    torch.testing.assert_close(drawn["b"], 0.5 * BATCH["a"] + 0.1)
    assert isinstance(family, TranslatorModel)


def test_a_game_of_translators_has_no_implicit_gradient():
    assert "a game of several players" in misfit(IMAML(), CycleGAN())


def test_a_mixture_of_translators_makes_the_mean_of_what_its_parts_make():
    family, nets = by_hand()
    mixed = mixture_of([family, Untouched()], [0.25, 0.75])
    named = {f"0.{name}": net for name, net in nets.items()}
    assert not lacks(mixed, "translation") and lacks(mixed, "likelihood")
    want = 0.25 * (0.5 * BATCH["a"] + 0.1) + 0.75 * BATCH["a"]
    made = mixed.translate(named, BATCH)
    torch.testing.assert_close(made["b"], want)
    assert list(made) == ["b", "a"]
