from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from metasearch.errors import DataError
from metasearch.registry import revive, to_data
from metasearch.tasks import SOURCES, Arrays
from metasearch.tasks.base import SPLITS
from tests.tasks.drawings import drawings

FEW = {"shot": 2, "query": 2, "anchor": 1, "size": 24}
NAMES = [f"c{i}" for i in range(8)]


def parts(**changes):
    images, labels = drawings(NAMES)
    return {"images": images, "labels": labels} | changes


def opened(tmp_path, settings=None, **changes):
    arrays = {k: v for k, v in parts(**changes).items() if v is not None}
    np.savez(tmp_path / "x.npz", **arrays)
    return Arrays(path=str(tmp_path / "x.npz"), **(FEW | (settings or {}))).open()


def pixels(source, task):
    return ((source.images(task)["x"] + 1) * 127.5).round().byte().numpy()


def test_labels_of_text_are_the_tasks(tmp_path):
    source = opened(tmp_path)
    assert sorted(t for s in SPLITS for t in source.tasks(s)) == NAMES
    np.testing.assert_array_equal(pixels(source, "c0")[:, 0], 255 - drawings(["c0"])[0])


def test_labels_of_numbers_may_have_names(tmp_path):
    numbers = np.repeat(np.arange(8), 6)
    named = opened(tmp_path, labels=numbers, class_names=np.array(NAMES))
    assert named.fingerprint == opened(tmp_path).fingerprint
    bare = opened(tmp_path, labels=numbers * 5)
    assert sorted(t for s in SPLITS for t in bare.tasks(s)) == [f"{i:02d}" for i in range(0, 40, 5)]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: (x / 255).astype(np.float32),
        lambda x: (x / 255 * 2 - 1).astype(np.float64),
        lambda x: x[..., None],
        lambda x: x[:, None],
    ],
)
def test_ranges_and_layouts_are_told_apart(tmp_path, change):
    images = parts()["images"]
    assert opened(tmp_path, images=change(images)).fingerprint == opened(tmp_path).fingerprint


def test_truth_values_are_black_and_white(tmp_path):
    images = parts()["images"] > 200
    assert set(np.unique(pixels(opened(tmp_path, images=images), "c0"))) == {0, 255}


@pytest.mark.parametrize("axis", [1, 3])
def test_colour_may_be_first_or_last(tmp_path, axis):
    images = parts()["images"]
    colour = np.stack([images, images // 2, images // 3], axis=axis)
    source = opened(tmp_path, images=colour)
    assert source.shape == (3, 24, 24)
    np.testing.assert_array_equal(pixels(source, "c0")[:, 1], images[:6] // 2)
    assert opened(tmp_path, {"channels": 1}, images=colour).shape == (1, 24, 24)


def test_images_are_brought_to_the_size_asked_for(tmp_path):
    assert opened(tmp_path, {"size": 16}).shape == (1, 16, 16)
    assert opened(tmp_path, {"channels": 3}).shape == (3, 24, 24)


@pytest.mark.parametrize("per", ["class", "image"])
def test_groups_stay_whole_given_by_class_or_by_image(tmp_path, per):
    groups = np.array(["a", "b", "c", "d", "e", "e", "a", "b"])
    told = groups if per == "class" else groups.repeat(6)
    source = opened(tmp_path, groups=told)
    of = {s: {source.group(t) for t in source.tasks(s)} for s in SPLITS}
    assert sum(map(len, of.values())) == 5
    assert source.group("e/c4") == source.group("e/c5") == "e"


def test_a_name_that_repeats_its_group_is_not_doubled(tmp_path):
    groups = np.array(list("abcdeeab"))
    names = np.array([f"{g}/{n}" for g, n in zip(groups, NAMES, strict=True)])
    labels = np.repeat(np.arange(8), 6)
    source = opened(tmp_path, labels=labels, class_names=names, groups=groups)
    assert source.group("a/c0") == "a"


def test_given_splits_are_kept(tmp_path):
    split = np.array(["train"] * 3 + ["inner", "val", "confirm", "test", "test"])
    source = opened(tmp_path, split=split)
    assert [len(source.tasks(s)) for s in SPLITS] == [3, 1, 1, 1, 2]
    assert source.tasks("test") == ("c6", "c7")


def nan_at_third():
    images = parts()["images"] / 255.0
    images[3, 2, 2] = np.nan
    return images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "no array 'images' in it; wanted are"),
        ({"labels": None}, "no array 'labels' in it; wanted are"),
        ({"images": nan_at_third()}, r"image 3 holds values that are not finite \(1 images"),
        (
            {"images": np.full((48, 24, 24), 7.0)},
            r"floats from 7 to 7 \(first in image 0\).*by 255",
        ),
        ({"images": np.zeros((48, 24, 24), np.int32)}, "of type int32.*Cast it"),
        ({"images": np.zeros((48, 24), np.uint8)}, r"has the shape \(48, 24\)"),
        ({"images": np.zeros((48, 24, 24, 2), np.uint8)}, r"has the shape \(48, 24, 24, 2\)"),
        ({"labels": np.zeros(47, int)}, r"`labels` has the shape \(47,\) for 48 images"),
        ({"labels": np.arange(48) - 5}, "label -5 of image 0 is negative"),
        ({"labels": np.zeros(48)}, "`labels` is of type float64"),
        (
            {"labels": np.repeat(np.arange(8), 6), "class_names": np.array(NAMES[:3])},
            r"label 3 of image 18 has no name: .* 0 to 2",
        ),
        ({"groups": np.array(["a"] * 5)}, r"`groups` has 5 entries; .* 8 classes, .* 48 images"),
        (
            {"groups": np.array(["a"] * 47 + ["b"])},
            "`groups` says 'b' of image 47 and 'a' of another of the same class",
        ),
        ({"split": np.array(["train"] * 7 + ["tset"])}, "`split` says 'tset'; allowed are train"),
        ({"images": np.array([[None]] * 48)}, "array 'images' holds pickled Python objects"),
        ({"labels": np.array([object()] * 48)}, "array 'labels' holds pickled Python objects"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as error:
        opened(tmp_path, **changes)
    assert str(error.value).startswith(f"arrays {tmp_path}/x.npz: ")
    assert "\n" not in str(error.value)


def npy(header: str, body: bytes = b"", version=b"\x01\x00") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            npy("{'descr': '|u1', 'fortran_order': False, 'shape': (8, 1048576, 1048576)}"),
            "promises",
        ),
        (npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2)}", b"12"), "promises"),
        (npy("__import__('os').abort()"), "no plain array"),
        (
            npy("{'descr': '|u1', 'fortran_order': False, 'shape': (0,)}", version=b"\x09\x00"),
            "plain",
        ),
        (b"no array", "no plain array"),
        (npy("{'descr': '|u1', 'shape': (2,"), "no plain array"),
    ],
)
def test_a_header_is_weighed_before_anything_is_allocated(tmp_path, member, message):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", member)
    with pytest.raises(DataError, match=message):
        Arrays(path=str(tmp_path / "x.npz")).open()


def test_a_file_that_is_no_archive_or_not_there_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"no \.npz that can be read"):
        Arrays(path=str(tmp_path / "x.npz")).open()
    with pytest.raises(DataError, match="does not exist; give the path"):
        Arrays(path=str(tmp_path / "none.npz")).open()


def test_a_damaged_file_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **parts())
    data = bytearray(buffer.getvalue())
    data[400:420] = bytes(20)
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npz: "):
        Arrays(path=str(tmp_path / "x.npz")).open()


def test_it_comes_back_from_plain_data():
    source = Arrays(path="a.npz", invert="yes", leaks="keep")
    assert revive(SOURCES, to_data(source), "trial.tasks") == source
