from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from metasearch.errors import ConfigError, DataError
from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import SOURCES, Folder
from metasearch.tasks.base import SPLITS
from tests.tasks.drawings import drawing, grouped, write_tree, zip_tree

FEW = {"shot": 2, "query": 2, "anchor": 1, "size": 24}
CLASSES = [f"class{i}" for i in range(10)]


def opened(path, **changes):
    return Folder(path=str(path), **(FEW | changes)).open()


def split_of(source):
    return {t: s for s in SPLITS for t in source.tasks(s)}


@pytest.fixture
def flat(tmp_path):
    return write_tree(tmp_path / "flat", CLASSES)


@pytest.fixture
def deep(tmp_path):
    return write_tree(tmp_path / "deep", grouped())


def test_one_level_gives_each_class_a_group_of_its_own(flat):
    source = opened(flat)
    assert sorted(split_of(source)) == CLASSES
    assert [len(source.tasks(s)) for s in SPLITS] == [6, 1, 1, 1, 1]
    assert source.group("class3") == "class3"


def test_two_levels_keep_groups_whole(deep):
    source = opened(deep)
    assert len(split_of(source)) == 18
    groups = [{source.group(t) for t in source.tasks(s)} for s in SPLITS]
    assert sum(map(len, groups)) == 6 == len(set().union(*groups))
    assert source.count("script0/letter0") == 6


def test_images_come_as_they_are_with_ink_light(flat):
    source = opened(flat)
    wanted = 255 - np.stack([drawing("class0", i) for i in range(6)])
    pixels = ((source.images("class0")["x"] + 1) * 127.5).round().numpy()
    np.testing.assert_array_equal(pixels[:, 0], wanted)
    assert source.notes["inverted"] is True


def test_polarity_can_be_told(flat):
    plain, turned = opened(flat, invert="no"), opened(flat, invert="yes")
    assert plain.images("class0")["x"].mean() > 0 > turned.images("class0")["x"].mean()


def test_light_ink_on_dark_is_left_alone(tmp_path):
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.fromarray(255 - drawing(name, i)).save(tmp_path / name / f"{i}.png")
    source = opened(tmp_path)
    assert source.notes["inverted"] is False
    assert source.images("class0")["x"].mean() < 0


def test_colour_is_kept_and_never_inverted_by_itself(tmp_path):
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for i in range(6):
            picture = np.stack([drawing(name, i), drawing(name, i), np.full((24, 24), 200)], 2)
            Image.fromarray(picture.astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    source = opened(tmp_path)
    assert source.shape == (3, 24, 24)
    assert source.notes["inverted"] is False
    assert opened(tmp_path, channels=1).shape == (1, 24, 24)


def test_the_split_depends_on_names_and_seed_alone(flat, tmp_path):
    other = shutil.copytree(flat, tmp_path / "elsewhere")
    assert split_of(opened(flat)) == split_of(opened(other))
    assert opened(flat).fingerprint == opened(other).fingerprint
    seeds = [split_of(opened(flat, seed=s)) for s in range(4)]
    assert any(seeds[0] != s for s in seeds[1:])


def test_the_split_does_not_depend_on_the_size_of_episodes(flat):
    few, many = split_of(opened(flat)), split_of(opened(flat, shot=1, query=4))
    assert few == many


def test_a_zip_gives_what_its_folder_gives(deep, tmp_path):
    archive = zip_tree(deep, tmp_path / "deep.zip")
    assert opened(archive).fingerprint == opened(deep).fingerprint


def test_a_changed_image_is_seen_although_pictures_are_cached(flat):
    before = opened(flat).fingerprint
    Image.fromarray(drawing("another", 0)).save(flat / "class0" / "00.png")
    assert opened(flat).fingerprint != before


def test_given_splits_are_kept_and_the_missing_ones_carved(tmp_path):
    names = [f"{s}/c{s}{i}" for s, n in (("Train", 6), ("val", 4), ("TEST", 3)) for i in range(n)]
    source = opened(write_tree(tmp_path, names))
    assert set(source.tasks("train")) | set(source.tasks("inner")) == {
        f"cTrain{i}" for i in range(6)
    }
    assert set(source.tasks("search")) | set(source.tasks("confirm")) == {
        f"cval{i}" for i in range(4)
    }
    assert set(source.tasks("test")) == {f"cTEST{i}" for i in range(3)}
    assert all(source.tasks(s) for s in SPLITS)


def test_given_splits_may_have_groups_below(tmp_path):
    names = [f"train/g{g}/a" for g in range(3)] + ["val/g3/a", "val/g4/a", "test/g5/a"]
    names += [n[:-1] + "b" for n in names]
    source = opened(write_tree(tmp_path, names))
    assert source.tasks("test") == ("g5/a", "g5/b")


def test_a_class_in_two_given_splits_is_refused(tmp_path):
    names = [f"{s}/c{i}" for s in ("train", "test") for i in range(8)]
    with pytest.raises(DataError, match=r"'c0' is in both .* sets of whole classes"):
        opened(write_tree(tmp_path, names))


def test_names_that_differ_in_case_only_share_a_split_and_are_told(tmp_path):
    source = opened(write_tree(tmp_path, [*CLASSES, "CLASS3", "Class3 "]))
    split = split_of(source)
    same = {split[n] for n in ("class3", "CLASS3", "Class3 ") if n in split}
    assert len(same) == 1
    assert source.notes["names_alike"] == [["CLASS3", "Class3 ", "class3"]]


def test_doubles_within_a_class_count_once(flat):
    shutil.copy(flat / "class0" / "00.png", flat / "class0" / "again.png")
    source = opened(flat)
    assert source.count("class0") == 6
    assert source.notes["doubles_dropped"] == 1


def test_a_class_that_shares_an_image_with_an_earlier_split_is_dropped(flat):
    (unseen,), seen = opened(flat).tasks("test"), opened(flat).tasks("train")[0]
    names = [*CLASSES]
    source = opened(write_tree(flat, names, each=8))
    (unseen,), seen = source.tasks("test"), source.tasks("train")[0]
    shutil.copy(flat / seen / "00.png", flat / unseen / "00.png")
    with pytest.raises(
        DataError, match=rf"split test has 0 classes and needs 1; .*{unseen} \(test\) shares 1"
    ):
        opened(flat)
    kept = opened(flat, leaks="keep")
    assert kept.leaks.same_bytes == 1
    assert not kept.leaks.clean


def test_small_classes_are_left_out_and_counted(flat):
    names = sorted(split_of(opened(flat)))
    lone = next(n for n in names if n in opened(flat).tasks("train"))
    for i in range(3):
        (flat / lone / f"{i:02d}.png").unlink()
    source = opened(flat)
    assert lone not in split_of(source)
    assert source.notes["small_classes"] == [lone]
    with pytest.raises(DataError, match=r"no class has 23 different images.* the largest has 6"):
        opened(flat, shot=20)


def test_a_few_damaged_images_are_listed_and_left_out(deep):
    (deep / "script0" / "letter0" / "broken.png").write_bytes(b"no picture")
    source = opened(deep)
    assert source.notes["corrupt"] == 1
    assert source.notes["corrupt_files"][0].startswith("script0/letter0/broken.png: not an image")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "does not exist; give the path"),
        (lambda p: p.mkdir(), r"no images in it; wanted is class/image\.png"),
        (lambda p: write_tree(p, [""]), r"6 images lie at the top, such as '00\.png'; wanted is"),
        (lambda p: write_tree(p, ["a", "b/c"]), r"mixed depth, such as 'a/00\.png' and 'b/c/00"),
        (lambda p: write_tree(p, ["a/b/c/d", "e/f/g/h"]), "wrong depth"),
        (lambda p: write_tree(p, CLASSES[:5]), r"5 classes cannot be shared .* 6 is the smallest"),
        (lambda p: write_tree(p, grouped(4)), r"4 groups cannot be shared .* 5 is the smallest"),
        (lambda p: write_tree(p, CLASSES, each=4), r"no class has 5 .* the largest has 4\. Lower"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_that_names_it(tmp_path, make, message):
    path = tmp_path / "pictures"
    make(path)
    with pytest.raises(DataError, match=message) as error:
        opened(path)
    assert str(error.value).startswith(f"folder {path}: ")
    assert "\n" not in str(error.value)


def test_a_folder_of_other_files_says_what_was_passed_over(tmp_path):
    (tmp_path / "notes.txt").write_text("no images")
    with pytest.raises(DataError, match=r"no images in it \(passed over: 1 not images\)"):
        opened(tmp_path)


def test_mostly_damaged_images_are_refused(flat):
    for file in sorted(flat.rglob("*.png"))[:5]:
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"5 of 60 images cannot be read.*class0/00\.png"):
        opened(flat)


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="allowed is 8 to 512"):
        Folder(path="x", size=4)
    with pytest.raises(ConfigError, match="five positive numbers"):
        Folder(path="x", ratios=(1, 0, 0, 0, 0))


def test_episodes_come_from_the_images_of_the_class(flat):
    source = opened(flat)
    stored = {p.numpy().tobytes() for p in source.images("class1")["x"]}
    e = source.episodes(["class1"], shot=2, query=2, anchor=1, rng=Stream(0))
    drawn = [p.numpy().tobytes() for b in (e.support, e.query, e.anchor) for p in b["x"]]
    assert len(set(drawn)) == 5
    assert set(drawn) <= stored


def test_it_comes_back_from_plain_data():
    source = Folder(path="a/b", channels=3, ratios=(0.5, 0.1, 0.1, 0.1, 0.2))
    assert revive(SOURCES, to_data(source), "trial.tasks") == source
