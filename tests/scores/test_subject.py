"""What scores are handed: samples and features are made once, and can be replaced."""

from __future__ import annotations

import dataclasses

import torch

from metasearch.scores.base import anchor_score, by_task, finite_or_nan
from metasearch.scores.mmd import MMD
from tests.scores.fakes import SIDE, real, subject


def test_samples_are_drawn_once_without_gradients_and_the_same_in_every_trial():
    one, two = subject(3), subject(3)
    assert one.samples is one.samples
    assert one.samples["x"].shape == (36, 1, SIDE, SIDE)
    assert torch.equal(one.samples["x"], two.samples["x"])
    one.adapted.means.requires_grad_()
    assert not dataclasses.replace(one).samples["x"].requires_grad


def test_posing_puts_given_images_in_the_place_of_samples_and_leaves_the_rest():
    before = subject(3)
    images = {"x": real(3, 5, "given").flatten(0, 1)}
    after = before.posing(images)
    assert after.samples is images and after.n_samples == 5
    assert after.episodes is before.episodes and before.n_samples == 12
    assert after.sample_features.shape == (3, 5, SIDE * SIDE)


def test_samples_are_compared_with_the_query_of_their_own_domain():
    given = subject(2)
    other = {d: {"a": x + 9, "b": x} for d, x in given.episodes.query.items()}["x"]
    episodes = dataclasses.replace(given.episodes, query=other)
    translated = dataclasses.replace(given, episodes=episodes).posing({"b": given.samples["x"]})
    assert translated.domain == "b"
    assert torch.equal(translated.query_features, given.query_features)


def test_the_anchor_is_the_score_of_other_real_images():
    given = subject(6)
    by_hand = MMD()(given.posing(given.episodes.anchor))
    assert torch.equal(anchor_score(MMD(), given), by_hand)


def test_tasks_are_outermost():
    assert torch.equal(by_task(torch.arange(6), 2), torch.tensor([[0, 1, 2], [3, 4, 5]]))


def test_whatever_is_not_finite_becomes_nan():
    found = finite_or_nan(torch.tensor([1.0, torch.inf, -torch.inf, torch.nan]))
    assert found.dtype == torch.float64
    assert found[0] == 1 and found[1:].isnan().all()
