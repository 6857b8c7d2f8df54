from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from metasearch.errors import ConfigError, DataError
from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import SOURCES, Glyphs
from metasearch.tasks import glyph_classes as module
from metasearch.tasks.base import SPLITS
from metasearch.tasks.jitter import Jitter

SIZES = {"shot": 5, "query": 10, "anchor": 5}


def rows(batch, n):
    return batch["x"].unflatten(0, (-1, n))


def test_no_task_and_no_script_is_in_two_splits(glyphs):
    names = [t for s in SPLITS for t in glyphs.tasks(s)]
    assert len(names) == len(set(names))
    groups = [{glyphs.group(t) for t in glyphs.tasks(s)} for s in SPLITS]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_nothing_leaks_and_nothing_had_to_be_dropped_at_load(glyphs):
    assert glyphs.leaks.clean
    assert glyphs.leaks.dropped == ()


def test_an_episode_has_the_shapes_and_the_range_that_were_asked_for(glyphs):
    tasks = glyphs.tasks("search")[:3]
    episodes = glyphs.episodes(tasks, **SIZES, rng=Stream(0))
    assert episodes.tasks == tasks
    assert episodes.support["x"].shape == (15, 1, 28, 28)
    assert episodes.query["x"].shape == (30, 1, 28, 28)
    assert episodes.anchor["x"].shape == (15, 1, 28, 28)
    for batch in (episodes.support, episodes.query, episodes.anchor):
        assert batch["x"].min() >= -1
        assert batch["x"].max() == 1
        assert batch["x"].dtype == torch.float32


def test_ink_is_the_lesser_and_brighter_part(glyphs):
    picture = glyphs.images("Latin/capital-a")["x"][0]
    assert (picture > 0).float().mean() < 0.4
    assert picture[0, 0, 0] == -1


def test_support_query_and_anchor_share_no_picture(glyphs):
    tasks = glyphs.tasks("confirm")  # 4 styles each, 20 pictures wanted
    episodes = glyphs.episodes(tasks, **SIZES, rng=Stream(0))
    parts = [rows(episodes.support, 5), rows(episodes.query, 10), rows(episodes.anchor, 5)]
    for pictures in torch.cat(parts, 1):
        assert len({p.numpy().tobytes() for p in pictures}) == 20


def test_styles_are_used_once_before_any_is_used_twice(glyphs, monkeypatch):
    monkeypatch.setattr(glyphs, "_augmented", dataclasses.replace(glyphs._augmented, jitter=STILL))
    for task in ("Hebrew/alef", "Latin/capital-g"):
        stored = {p.numpy().tobytes() for p in glyphs.images(task)["x"]}
        n = len(stored)
        drawn = glyphs.episodes([task], shot=n, query=2 * n, rng=Stream(3))
        assert len({_rounded(p) for p in drawn.support["x"]}) == n
        again = [_rounded(p) for p in drawn.query["x"]]
        assert all(again.count(p) == 2 for p in again)


STILL = Jitter(rotation=0, shear=0, scale=(1, 1), shift=0, elastic=0, stroke=0)


def _rounded(picture):
    return ((picture + 1) * 127.5).round().byte().numpy().tobytes()


def test_a_task_gets_the_same_whatever_its_company(glyphs):
    tasks = glyphs.tasks("train")[:9]
    together = glyphs.episodes(tasks, **SIZES, rng=Stream(1))
    for order in ([3], [8, 3, 1]):
        alone = glyphs.episodes([tasks[i] for i in order], **SIZES, rng=Stream(1))
        at = order.index(3)
        for part, n in (("support", 5), ("query", 10), ("anchor", 5)):
            one, all_of_them = getattr(alone, part), getattr(together, part)
            assert torch.equal(rows(one, n)[at], rows(all_of_them, n)[3])


def test_the_support_does_not_depend_on_how_much_else_is_drawn(glyphs):
    tasks = glyphs.tasks("train")[:2]
    small = glyphs.episodes(tasks, shot=5, query=1, rng=Stream(1))
    large = glyphs.episodes(tasks, shot=5, query=15, anchor=7, rng=Stream(1))
    assert torch.equal(small.support["x"], large.support["x"])
    assert small.anchor["x"].shape[0] == 0


def test_another_stream_gives_another_episode(glyphs):
    tasks = glyphs.tasks("train")[:1]
    one, two = (glyphs.episodes(tasks, **SIZES, rng=Stream(0).at("s", i)) for i in range(2))
    assert not torch.equal(one.support["x"], two.support["x"])


def test_drawing_leaves_global_generators_alone(glyphs):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    glyphs.episodes(glyphs.tasks("train")[:2], **SIZES, rng=Stream(0))
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_opening_again_gives_the_same_from_the_cache(glyphs, monkeypatch):
    monkeypatch.setattr(module, "render_fields", _never)
    again = Glyphs().open()
    assert again.fingerprint == glyphs.fingerprint
    assert again.tasks("search") == glyphs.tasks("search")


def _never(*_):
    raise AssertionError("drawn although it was in the cache")


def test_without_a_cache_the_same_is_drawn(glyphs, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / "file"))
    some = [c for c in module.glyph_classes() if c.char in "gq7\u05d0\u10d0"]
    fields = module.glyph_fields(some)
    monkeypatch.undo()
    kept = {c.char: f for c, f in zip(some, _split_by(some, fields), strict=True)}
    every = module.glyph_classes()
    cached = dict(
        zip((c.char for c in every), _split_by(every, module.glyph_fields(every)), strict=True)
    )
    for char, field in kept.items():
        np.testing.assert_array_equal(field, cached[char])


def _split_by(classes, fields):
    return np.split(fields, np.cumsum([len(c.styles) for c in classes])[:-1])


def test_size_and_jitter_are_part_of_the_fingerprint(glyphs):
    prints = {glyphs.fingerprint, Glyphs(size=16).open().fingerprint}
    prints |= {Glyphs(jitter=False, shot=1, query=1, anchor=1).open().fingerprint}
    assert len(prints) == 3


def test_another_size_has_the_same_tasks_but_for_those_that_coincide_at_it(glyphs):
    small = Glyphs(size=16).open()
    assert small.shape == (1, 16, 16)
    for split in SPLITS:
        assert set(glyphs.tasks(split)) - set(small.tasks(split)) <= set(small.leaks.dropped)
        assert set(small.tasks(split)) <= set(glyphs.tasks(split))
    assert len(small.leaks.dropped) < 10


def test_without_jitter_pictures_are_stored_ones_and_all_different():
    plain = Glyphs(jitter=False, shot=1, query=2, anchor=1).open()
    task = "Hebrew/alef"
    episodes = plain.episodes([task], shot=1, query=2, anchor=1, rng=Stream(0))
    drawn = torch.cat([episodes.support["x"], episodes.query["x"], episodes.anchor["x"]])
    stored = {p.numpy().tobytes() for p in plain.images(task)["x"]}
    assert len(stored) == 4
    assert {p.numpy().tobytes() for p in drawn} == stored
    with pytest.raises(DataError, match="has 4 images, and an episode takes 5"):
        plain.episodes([task], shot=2, query=2, anchor=1, rng=Stream(0))


def test_without_jitter_too_many_images_are_refused_at_open():
    with pytest.raises(DataError, match="no class has 40 different images"):
        Glyphs(jitter=False, shot=20, query=20, anchor=0).open()
    with pytest.raises(
        DataError, match=r"glyphs: split inner has 0 .* fewer than 20 different images"
    ):
        Glyphs(jitter=False).open()


@pytest.mark.parametrize(
    "wrong", [{"size": 8}, {"size": 300}, {"shot": 0}, {"query": 0}, {"anchor": -1}]
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match="allowed"):
        Glyphs(**wrong)


def test_what_was_drawn_of_a_split_is_counted():
    source = Glyphs(size=12).open()
    assert [source.opened(s) for s in SPLITS] == [0] * 5
    source.episodes(source.tasks("train")[:3], **SIZES, rng=Stream(0))
    source.images(source.tasks("search")[0])
    assert source.opened("train") == 3
    assert source.opened("search") == 1
    assert source.opened("test") == 0


def test_a_task_that_is_not_there_is_named_with_the_nearest(glyphs):
    with pytest.raises(DataError, match=r"'Latin/small-gg'.*Did you mean 'Latin/small-g'"):
        glyphs.images("Latin/small-gg")


def test_it_comes_back_from_plain_data():
    source = Glyphs(size=20, jitter=False)
    assert revive(SOURCES, to_data(source), "trial.tasks") == source
