"""Rows of a batch: of every kind, cycled, and told apart."""

from __future__ import annotations

import torch

from metasearch.algorithms.base import all_images
from metasearch.models.base import cycled, example, repeat_rows, rows
from metasearch.rng import Stream
from metasearch.tasks.base import Episodes, image_domains

EVERY = ("a", "x", "y", "t", "given", "progress")


def test_only_domains_of_one_image_a_row_count_as_images():
    assert image_domains(EVERY) == ("a", "x")


def test_each_tasks_rows_are_gone_through_in_turn():
    batch = {"x": torch.arange(6.0).reshape(6, 1, 1, 1), "y": torch.tensor([0, 1, -1, 2, 3, 4])}
    found = cycled(batch, 2, 5)
    assert found["y"].tolist() == [0, 1, -1, 0, 1, 2, 3, 4, 2, 3]
    assert found["x"].flatten().tolist() == [0, 1, 2, 0, 1, 3, 4, 5, 3, 4]


def test_cycling_to_fewer_rows_takes_the_first():
    assert cycled({"y": torch.tensor([5, 6, 7, 8])}, 2, 1)["y"].tolist() == [5, 7]


def test_an_example_has_rows_of_every_kind():
    batch = example(EVERY, (1, 8, 8), 4, Stream(0))
    assert {d: (tuple(x.shape), x.dtype) for d, x in batch.items()} == {
        "a": ((4, 1, 8, 8), torch.float32),
        "x": ((4, 1, 8, 8), torch.float32),
        "y": ((4,), torch.int64),
        "t": ((4, 32, 3), torch.float32),
        "given": ((4, 3, 1, 8, 8), torch.float32),
        "heard": ((4, 3), torch.bool),
        "set": ((4,), torch.int64),
        "progress": ((4,), torch.float32),
    }
    assert not torch.equal(batch["a"], batch["x"])


def test_rows_of_every_kind_are_selected_joined_and_repeated_alike():
    support, query = (example(EVERY, (1, 4, 4), n, Stream(n)) for n in (6, 4))
    episodes = Episodes(("g/a", "g/b"), support, query, {d: x[:0] for d, x in query.items()})
    second = episodes.select([1])
    joined = all_images(episodes)
    for d in EVERY:
        assert torch.equal(second.support[d], support[d][3:])
        assert second.anchor[d].shape == (0, *support[d].shape[1:])
        want = torch.cat([support[d][:3], query[d][:2], support[d][3:], query[d][2:]])
        assert torch.equal(joined[d], want)
    assert rows(repeat_rows(support, 9)) == 9
    assert {x.shape[0] for x in repeat_rows(support, 9).values()} == {9}
