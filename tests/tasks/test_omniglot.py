from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metasearch.errors import DataError
from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import SOURCES, Omniglot
from metasearch.tasks.alphabets import HARDNESS
from metasearch.tasks.base import SPLITS
from tests.tasks.drawings import drawings, write_tree, zip_tree

FEW = {"shot": 2, "query": 2, "anchor": 1, "size": 24}
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "omniglot"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the Omniglot files are not beside the project")


def alphabets(first, last, characters=3):
    return [
        f"Alphabet_{a:02d}/character{c:02d}"
        for a in range(first, last)
        for c in range(1, characters + 1)
    ]


def background(root, first=0, last=8):
    return write_tree(root / "images_background", alphabets(first, last))


def opened(path, **changes):
    return Omniglot(path=str(path), **(FEW | changes)).open()


def groups(source, split):
    return {source.group(t) for t in source.tasks(split)}


def test_alphabets_are_groups_and_characters_are_tasks(tmp_path):
    source = opened(background(tmp_path))
    assert [len(groups(source, s)) for s in SPLITS] == [4, 1, 1, 1, 1]
    assert source.tasks("test")[0].endswith("/character01")
    assert source.count(source.tasks("test")[0]) == 6


def test_ink_is_dark_in_the_files_and_light_in_the_tasks(tmp_path):
    source = opened(background(tmp_path))
    assert source.images("Alphabet_00/character01")["x"].mean() < 0


def test_folder_and_zip_and_folder_of_zips_are_read_alike(tmp_path):
    folder = background(tmp_path / "a")
    (tmp_path / "b").mkdir()
    archive = zip_tree(folder, tmp_path / "b" / "images_background.zip")
    prints = {opened(p).fingerprint for p in (folder, archive, tmp_path / "a", tmp_path / "b")}
    assert len(prints) == 1


def test_evaluation_alphabets_are_the_test_split(tmp_path):
    background(tmp_path)
    write_tree(tmp_path / "images_evaluation", alphabets(8, 11))
    source = opened(tmp_path)
    assert groups(source, "test") == {"Alphabet_08", "Alphabet_09", "Alphabet_10"}
    assert sum(len(groups(source, s)) for s in SPLITS) == 11


def test_a_zip_beside_its_own_folder_is_not_read_twice(tmp_path):
    folder = background(tmp_path)
    zip_tree(folder, tmp_path / "images_background.zip")
    assert opened(tmp_path).notes["files"] == 8 * 3 * 6


def test_several_paths_are_joined_and_shared_images_count_once(tmp_path):
    one = zip_tree(background(tmp_path / "1", 0, 5), tmp_path / "small1.zip")
    two = zip_tree(background(tmp_path / "2", 3, 8), tmp_path / "small2.zip")
    both = opened(f"{one}, {two}")
    assert both.notes["doubles_dropped"] == 2 * 3 * 6
    assert both.fingerprint == opened(background(tmp_path / "3")).fingerprint


def test_a_path_with_a_comma_is_one_path(tmp_path):
    odd = tmp_path / "a,b"
    assert opened(background(odd)).count("Alphabet_00/character01") == 6


def test_too_few_alphabets_are_refused_with_the_number(tmp_path):
    with pytest.raises(DataError, match=r"omniglot .*: 4 groups cannot .* 5 is the smallest"):
        opened(background(tmp_path, 0, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "holds no images; wanted are images_background.zip"),
        (
            lambda p: write_tree(p, ["character01"]),
            r"'character01/00\.png' is not in place; wanted",
        ),
    ],
)
def test_what_is_not_omniglot_is_refused_with_what_is_wanted(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(DataError, match=message):
        opened(tmp_path / "data")


def test_an_archive_needs_the_alphabets(tmp_path):
    images, labels = drawings([f"c{i}" for i in range(15)])
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    with pytest.raises(DataError, match="no `groups`"):
        opened(tmp_path / "x.npz")
    owner = np.array([f"g{int(n[1:]) % 5}" for n in labels])
    np.savez(tmp_path / "x.npz", images=images, labels=labels, groups=owner)
    assert groups(opened(tmp_path / "x.npz"), "test") < {f"g{i}" for i in range(5)}


def test_it_comes_back_from_plain_data():
    source = Omniglot(path="a.zip,b.zip", seed=3)
    assert revive(SOURCES, to_data(source), "trial.tasks") == source


@real
def test_the_thirty_background_alphabets_give_twenty_two_three_two_three():
    source = Omniglot(path=str(REAL / "omniglot_background_28.npz")).open()
    assert [len(groups(source, s)) for s in SPLITS] == [20, 2, 3, 2, 3]
    assert source.leaks.clean
    kept = sum(len(source.tasks(s)) for s in SPLITS)
    assert 950 < kept < 964
    e = source.episodes(source.tasks("search")[:2], shot=5, query=10, anchor=5, rng=Stream(0))
    assert e.query["x"].shape == (20, 1, 28, 28)
    assert e.query["x"].mean() < -0.5


@real
def test_hardness_is_what_the_drawings_of_a_character_differ_by():
    with np.load(REAL / "omniglot_background_28.npz") as file:
        images, labels, owner = file["images"] / 255, file["labels"], file["groups"]
    spread = np.array([images[labels == c].var(0).sum() for c in range(len(owner))])
    measured = {a: spread[owner == a].mean() for a in sorted(set(owner.tolist()))}
    assert pytest.approx(measured, abs=0.051) == dict(HARDNESS)


@real
def test_every_split_of_the_background_alphabets_is_about_as_hard():
    source = Omniglot(path=str(REAL / "omniglot_background_28.npz")).open()
    owners = [[HARDNESS[t.split("/")[0]] for t in source.tasks(s)] for s in SPLITS]
    assert np.ptp([np.mean(o) for o in owners]) < 2


@real
def test_equal_drawings_of_a_character_count_once():
    source = Omniglot(path=str(REAL / "omniglot_background_28.npz"), anchor=0).open()
    with np.load(REAL / "omniglot_background_28.npz") as file:
        braille = file["class_names"].tolist().index("Braille/character01")
        dots = file["images"][file["labels"] == braille]
    distinct = len({d.tobytes() for d in dots})
    assert distinct < 20  # a dot may fall on the same pixel
    assert source.count("Braille/character01") == distinct
    assert source.count("Braille/character02") == 20


@real
def test_the_small_sets_join_to_242_characters_of_8_alphabets():
    paths = ",".join(str(REAL / f"images_background_small{i}.zip") for i in (1, 2))
    source = Omniglot(path=paths).open()
    assert source.notes["doubles_dropped"] == 1000
    assert sum(len(source.tasks(s)) for s in SPLITS) == 242
    assert [len(groups(source, s)) for s in SPLITS] == [4, 1, 1, 1, 1]
