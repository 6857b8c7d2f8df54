"""The asked class is seen: shares against hand-counted ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from metasearch.scores.base import anchor_score
from metasearch.scores.recognition import Recognition
from tests.scores.fakes import SHAPE, SIDE, Plain, subject

A, B, C = (
    torch.nn.functional.one_hot(torch.tensor(i), SIDE * SIDE).float().reshape(SHAPE)
    for i in range(3)
)


def judged(samples, asked, query=((A, 0), (B, 1), (C, 2)), tasks=1):
    """The score of one task's samples, repeated for `tasks` tasks."""
    one = subject(tasks)
    real = {
        "x": torch.stack([x for x, _ in query] * tasks),
        "y": torch.tensor([y for _, y in query] * tasks),
    }
    drawn = {"x": torch.stack(list(samples) * tasks), "y": torch.tensor(list(asked) * tasks)}
    return Recognition()(replace(one, episodes=replace(one.episodes, query=real)).posing(drawn))


def test_it_counts_images_that_are_nearest_to_the_class_they_were_asked_for():
    near = 0.7 * A + 0.3 * B
    assert judged([A, near, B, C], [0, 0, 0, 1]).tolist() == [0.5]
    assert judged([A, B, C], [0, 1, 2]).tolist() == [1.0]
    assert judged([A, A, A], [0, 1, 2]).item() == pytest.approx(1 / 3)


def test_means_are_those_of_each_class():
    query = [(A, 0), (B, 0), (C, 1), (C, 1), (C, 1)]
    point = 0.5 * (A + B)
    assert judged([point, A, C], [0, 0, 1], query).tolist() == [1.0]


def test_a_class_without_a_real_image_is_never_seen():
    assert judged([A, C], [0, 2], [(A, 0), (B, 1), (A, -1)]).item() == 0.5


def test_images_that_no_class_was_asked_for_count_as_chance():
    assert judged([A, A], [-1, 0]).item() == pytest.approx((1 / 3 + 1) / 2)
    assert judged([A], [-1], [(A, 0), (B, 1)]).item() == 0.5


def test_tasks_are_judged_apart():
    assert judged([A, B], [0, 0], tasks=3).tolist() == [0.5] * 3


def test_a_task_without_labels_is_one_class():
    assert Recognition()(subject(3)).tolist() == [1.0] * 3


def test_real_images_are_judged_with_their_own_labels():
    one = subject(2)
    real = {"x": torch.stack([A, B] * 2), "y": torch.tensor([0, 1] * 2)}
    wrong = {**real, "y": torch.tensor([0, 0, 0, 1])}
    judged = replace(one, episodes=replace(one.episodes, query=real, anchor=wrong))
    assert anchor_score(Recognition(), judged).tolist() == [0.5, 1.0]


def test_it_looks_through_the_features_it_is_given():
    blind = Plain(matrix=torch.zeros(SIDE * SIDE, 2, dtype=torch.float64))
    one = subject(1, features=blind)
    real = {"x": torch.stack([A, B]), "y": torch.tensor([0, 1])}
    seen = replace(one, episodes=replace(one.episodes, query=real)).posing(real)
    assert Recognition()(seen).item() == 0.5
