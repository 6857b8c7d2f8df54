"""What scores are handed: samples and features are made once, and can be replaced."""

from __future__ import annotations

import dataclasses

import torch

from metasearch.scores.base import anchor_score, by_task, finite_or_nan
from metasearch.scores.mmd import MMD
from tests.scores.fakes import SIDE, Factor, real, subject


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


@dataclasses.dataclass(frozen=True)
class Echo(Factor):
    """What it is given comes back: an image of its own for each row."""

    def generate(self, nets, given, noise):
        return {"x": given["x"] + 0 * noise["z"].reshape(-1, 1, 1, 1)}


def test_a_family_is_handed_one_support_row_for_each_image_and_never_another_tasks():
    echo = subject(3, family=Echo(), n_samples=12)
    mine, support = (by_task(x["x"], 3) for x in (echo.samples, echo.episodes.support))
    assert mine.shape[1] == 12 and support.shape[1] == 5
    for k in range(12):
        assert torch.equal(mine[:, k], support[:, k % 5])


def test_samples_carry_the_class_they_were_asked_for():
    given = subject(2, family=Echo(), n_samples=7)
    labels = torch.tensor([0, 1, 2, 1, -1] * 2)
    episodes = dataclasses.replace(given.episodes, support={**given.episodes.support, "y": labels})
    told = dataclasses.replace(given, episodes=episodes)
    assert told.domain == "x"
    assert told.samples["y"].tolist() == [0, 1, 2, 1, -1, 0, 1] * 2
    assert "y" not in given.samples
