"""Tasks of several classes: dealt once and for all, labelled as far as the learner may know."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from metasearch.errors import ConfigError, DataError
from metasearch.registry import Schema, revive, to_data
from metasearch.rng import Stream
from metasearch.scores.features import ruler_of
from metasearch.tasks import SOURCES, Arrays, Conditional, contact_sheet, parse_source, summary
from metasearch.tasks.base import SPLITS
from tests.tasks.drawings import drawings, grouped

COUNTS = {"shot": 3, "query": 2, "anchor": 1}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    names = grouped(groups=7, classes=5)
    images, labels = drawings(names, each=6)
    order = np.unique(names)
    path = tmp_path_factory.mktemp("classes") / "x.npz"
    groups = np.array([name.split("/")[0] for name in order])
    np.savez(path, images=images, labels=labels, groups=groups)
    return Arrays(path=str(path), size=24, leaks="keep", **COUNTS)


@pytest.fixture(scope="module")
def opened(plain):
    return Conditional(source=plain, classes=2).open()


def episode(source, split="train", **settings):
    counts = {"shot": 6, "query": 4, "anchor": 2} | settings
    return source.episodes(source.tasks(split), rng=Stream(0).at("e"), **counts)


def test_counts_are_those_of_all_classes_together(plain):
    source = Conditional(source=plain, classes=2)
    assert (source.shot, source.query, source.anchor, source.size) == (6, 4, 2, 24)


def test_a_task_is_a_set_of_classes_of_one_group_of_its_split(opened):
    for split in SPLITS:
        below = set(opened.below.tasks(split))
        for task in opened.tasks(split):
            members = opened.members(task)
            assert len(set(members)) == 2 and set(members) <= below
            assert {opened.below.group(m) for m in members} == {opened.group(task)}
            assert opened.count(task) == sum(opened.below.count(m) for m in members) == 12


def test_unseen_classes_are_in_one_task_each_and_train_classes_in_several(opened):
    for split in SPLITS:
        dealt = [m for task in opened.tasks(split) for m in opened.members(task)]
        assert (len(set(dealt)) == len(dealt)) is (split != "train")


def test_dealing_is_a_function_of_the_seed(plain, opened):
    again = Conditional(source=plain, classes=2).open()
    other = Conditional(source=plain, classes=2, seed=1).open()
    every = {s: opened.tasks(s) for s in SPLITS}
    assert every == {s: again.tasks(s) for s in SPLITS}
    assert every != {s: other.tasks(s) for s in SPLITS}
    assert opened.fingerprint == again.fingerprint != other.fingerprint


def test_images_are_of_the_class_their_label_says(opened):
    found = episode(opened, "test")
    for i, task in enumerate(found.tasks):
        own = found.select([i])
        stored = opened.images(task)
        for batch in (own.support, own.query, own.anchor):
            for image, label in zip(batch["x"], batch["y"].tolist(), strict=True):
                same = (stored["x"] == image).flatten(1).all(1)
                assert stored["y"][same].tolist() == [label]
                assert (opened.below.images(opened.members(task)[label])["x"] == image).any()


def test_support_query_and_anchor_share_no_image_and_classes_are_even(opened):
    found = episode(opened, "search")
    for i in range(len(found.tasks)):
        own = found.select([i])
        sets = [{x.numpy().tobytes() for x in b["x"]} for b in (own.support, own.query, own.anchor)]
        assert [len(s) for s in sets] == [6, 4, 2]
        assert not any(a & b for a, b in itertools.combinations(sets, 2))
        assert own.support["y"].tolist() == [0, 1, 0, 1, 0, 1]


def test_what_a_task_gets_depends_on_its_own_name_only(opened):
    whole = episode(opened)
    alone = opened.episodes(whole.tasks[3:4], shot=6, query=4, anchor=2, rng=Stream(0).at("e"))
    part = whole.select([3])
    for a, b in ((part.support, alone.support), (part.query, alone.query)):
        assert all(torch.equal(a[d], b[d]) for d in ("x", "y"))


def test_counts_that_classes_do_not_divide_are_cut_short(opened):
    found = episode(opened, "test", shot=3, query=1, anchor=0).select([0])
    assert found.support["y"].tolist() == [0, 1, 0]
    assert found.query["y"].tolist() == [0]
    assert found.anchor["x"].shape == (0, 1, 24, 24)


@pytest.mark.parametrize(
    ("labelled", "support", "query"),
    [
        (1.0, [0, 1, 0, 1, 0, 1], [0, 1, 0, 1]),
        (0.34, [0, 1, -1, -1, -1, -1], [0, 1, -1, -1]),
        (0.01, [0, 1, -1, -1, -1, -1], [0, 1, -1, -1]),
        (0.0, [-1] * 6, [-1] * 4),
    ],
)
def test_the_learner_sees_a_share_of_the_labels_and_scores_see_all(plain, labelled, support, query):
    source = Conditional(source=plain, classes=2, labelled=labelled).open()
    train, test = (episode(source, split).select([0]) for split in ("train", "test"))
    assert train.support["y"].tolist() == test.support["y"].tolist() == support
    assert train.query["y"].tolist() == query
    assert test.query["y"].tolist() == [0, 1, 0, 1] and test.anchor["y"].tolist() == [0, 1]


def test_hiding_labels_changes_no_image(plain, opened):
    hidden = Conditional(source=plain, classes=2, labelled=0.0).open()
    assert torch.equal(episode(hidden).support["x"], episode(opened).support["x"])


def test_where_there_are_no_groups_classes_come_from_the_whole_split(tmp_path):
    images, labels = drawings([f"c{i:02d}" for i in range(24)], each=6)
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    ratios = (4.0, 1.0, 1.0, 1.0, 1.0)
    plain = Arrays(path=str(tmp_path / "x.npz"), size=24, leaks="keep", ratios=ratios, **COUNTS)
    source = Conditional(source=plain, classes=2).open()
    assert source.tasks("test") and all("/" not in task for task in source.tasks("test"))


def test_groups_without_enough_classes_are_refused_in_words(plain):
    with pytest.raises(DataError, match=r"no group of split .* has 6 classes. Lower `classes`"):
        Conditional(source=plain, classes=6).open()


def test_labels_are_not_laid_over_labels(plain):
    with pytest.raises(DataError, match="has labels already"):
        Conditional(source=Conditional(source=plain, classes=2), classes=2).open()


@pytest.mark.parametrize("wrong", [{"classes": 1}, {"labelled": 1.5}, {"rounds": 0}])
def test_settings_that_mean_nothing_are_refused(plain, wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Conditional(source=plain, **wrong)


def test_it_is_read_from_a_file_with_a_source_inside():
    data = {"name": "conditional", "source": {"name": "glyphs", "size": 16}, "classes": 4}
    made = Schema(SOURCES["conditional"]).build(data)
    assert made.source.size == 16 and made.classes == 4
    assert revive(SOURCES, to_data(made), "tasks") == made
    with pytest.raises(ConfigError, match=r"source\.name: no task source is called 'glyph'"):
        Schema(SOURCES["conditional"]).build({**data, "source": {"name": "glyph"}})


def test_features_are_learned_on_classes_and_not_on_sets_of_them(opened):
    assert ruler_of(opened) is opened.below


def test_a_person_can_look_at_it(opened, tmp_path):
    told = summary(opened)
    assert told["domains"] == ["x", "y"] and told["notes"]["classes_per_task"] == 2
    assert told["splits"]["train"]["tasks"] == len(opened.tasks("train"))
    contact_sheet(opened, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert parse_source("conditional:glyphs:16").source.size == 16
