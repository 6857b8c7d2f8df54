from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metasearch.errors import DataError
from metasearch.rng import Stream
from metasearch.tasks import ImageTasks
from metasearch.tasks.base import LeakReport, Split
from metasearch.tasks.image_tasks import Task

CLEAN = LeakReport(0, 0, (), ())


def source(counts=(9, 12, 7), split: Split = "train", value=None) -> ImageTasks:
    """Images that are all different: the number of an image is written into its pixels."""
    n = sum(counts)
    numbers = np.arange(n)[:, None] if value is None else np.full((n, 1), value)
    images = np.repeat(numbers, 8, axis=1).reshape(n, 2, 2, 2).astype(np.uint8)
    ends = np.cumsum([0, *counts])
    tasks = {
        f"g{i}/c{i}": Task(f"g{i}", split, range(ends[i], ends[i + 1])) for i in range(len(counts))
    }
    return ImageTasks(images, tasks, leaks=CLEAN)


def numbers(batch):
    return ((batch["x"][:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 4), st.integers(0, 99))
def test_the_three_parts_of_an_episode_share_no_image_and_stay_in_their_task(
    shot, query, anchor, seed
):
    counts = (12, 13, 15)
    e = source(counts).episodes(
        ["g2/c2", "g0/c0"], shot=shot, query=query, anchor=anchor, rng=Stream(seed)
    )
    for i, (low, high) in enumerate([(25, 40), (0, 12)]):
        drawn = [
            v
            for batch, n in ((e.support, shot), (e.query, query), (e.anchor, anchor))
            for v in numbers(batch)[i * n : (i + 1) * n]
        ]
        assert len(set(drawn)) == shot + query + anchor
        assert low <= min(drawn) <= max(drawn) < high


def test_every_image_is_drawn_sooner_or_later():
    tasks = source()
    seen = set()
    for step in range(60):
        seen |= set(numbers(tasks.episodes(["g0/c0"], shot=2, query=1, rng=Stream(step)).query))
    assert seen == set(range(9))


def test_too_large_an_episode_is_refused_with_the_counts():
    with pytest.raises(DataError, match=r"'g2/c2' has 7 images, and an episode takes 8"):
        source().episodes(["g2/c2"], shot=3, query=3, anchor=2, rng=Stream(0))


def test_images_are_brought_to_minus_one_to_one():
    (image,) = source((1,), value=0).images("g0/c0")["x"]
    assert torch.equal(image, torch.full((2, 2, 2), -1.0))
    (image,) = source((1,), value=255).images("g0/c0")["x"]
    assert torch.equal(image, torch.ones(2, 2, 2))


def test_no_tasks_give_an_empty_episode():
    e = source().episodes([], shot=2, query=3, rng=Stream(0))
    assert e.support["x"].shape == (0, 2, 2, 2)
    assert e.tasks == ()


def test_selecting_from_episodes_equals_drawing_fewer():
    tasks = ["g0/c0", "g1/c1", "g2/c2"]
    e = source().episodes(tasks, shot=2, query=3, anchor=1, rng=Stream(0))
    picked = e.select([2, 0])
    again = source().episodes(["g2/c2", "g0/c0"], shot=2, query=3, anchor=1, rng=Stream(0))
    assert picked.tasks == again.tasks
    for part in ("support", "query", "anchor"):
        assert torch.equal(getattr(picked, part)["x"], getattr(again, part)["x"])


def test_the_fingerprint_depends_on_pixels_names_and_split():
    base = source()
    prints = {base.fingerprint, source(value=3).fingerprint, source(split="test").fingerprint}
    prints.add(source((9, 7, 12)).fingerprint)
    assert len(prints) == 4
    assert source().fingerprint == base.fingerprint


def test_tasks_of_a_split_are_sorted_and_others_are_absent():
    assert source().tasks("train") == ("g0/c0", "g1/c1", "g2/c2")
    assert source().tasks("test") == ()
    assert source().group("g1/c1") == "g1"
    assert source().count("g1/c1") == 12
