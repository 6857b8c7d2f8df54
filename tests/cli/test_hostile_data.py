"""Hostile and broken data, typed at the command line: one line and exit code 2, or left out and told.

Each protection has a test of its own beside the code (tests/tasks); here is what people see of it.
"""

from __future__ import annotations

import io
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tasks.drawings import drawings, write_tree, zip_tree

CLASSES = [f"class{i}" for i in range(8)]
EACH = 20  # what an episode of a folder needs by default


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A folder that nothing is wrong with; nobody changes it."""
    return write_tree(tmp_path_factory.mktemp("sound") / "mine", CLASSES, each=EACH)


@pytest.fixture
def mine(sound, place) -> Path:
    """The same, to spoil."""
    return shutil.copytree(sound, place / "mine")


def png_that_says(width: int, height: int) -> bytes:
    """A few bytes that promise a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def pcx() -> bytes:
    held = io.BytesIO()
    Image.new("L", (24, 24), 80).save(held, "PCX")
    return held.getvalue()


def more(mine: Path, name: str, data: bytes) -> None:
    (mine / "class0" / name).write_bytes(data)


def link(mine: Path, name: str, target: Path) -> None:
    (mine / "class0" / name).symlink_to(target)


def again(mine: Path, source: str, target: str) -> None:
    shutil.copytree(mine / source, mine / target, dirs_exist_ok=True)


LEFT_OUT = {
    "a picture of gigapixels": (
        lambda p: more(p, "bomb.png", png_that_says(50_000, 50_000)),
        "1 of 161 files, which cannot be read",
    ),
    "a picture just below Pillow's own limit": (
        lambda p: more(p, "bomb.png", png_that_says(9_000, 9_000)),
        "9000x9000 pixels; at most 4096 a side",
    ),
    "a format that few look at": (lambda p: more(p, "odd.png", pcx()), "not an image of a known"),
    "a truncated file": (
        lambda p: more(p, "cut.png", (p / "class0" / "00.png").read_bytes()[:90]),
        "class0/cut.png",
    ),
    "an empty file": (lambda p: more(p, "none.png", b""), "class0/none.png: not an image of a known format"),
    "a web page": (lambda p: more(p, "page.png", b"<html>"), "class0/page.png: not an image of a known format"),
    "a link out of the folder": (
        lambda p: link(p, "host.png", Path("/etc/hostname")), "1 links out of the folder"),
    "a link to nothing": (lambda p: link(p, "gone.png", p / "gone"), "1 broken links"),
    "a link in a ring": (lambda p: link(p, "ring", p), "1 linked folders"),
    "junk of other systems": (
        lambda p: (more(p, ".DS_Store", b"x"), more(p, "Thumbs.db", b"x"), again(p, "class0", "__MACOSX")),
        "8 classes, each a task",
    ),
    "a class too small": (lambda p: write_tree(p, ["small"], each=2), "1 classes (small"),
    "an image twice in a class": (
        lambda p: shutil.copy(p / "class0" / "00.png", p / "class0" / "twin.png"),
        "1 images that a class holds twice",
    ),
    "classes under two names": (
        lambda p: [
            write_tree(p, [f"more{i}" for i in range(16)], EACH),
            *(again(p, f"class{i}", f"other{i}") for i in range(4)),
        ],
        "classes that resemble one of an earlier split (",
    ),
    "names that differ in case and space": (
        lambda p: write_tree(p, ["Class3 "], each=EACH), "perhaps one class: 'class3 ', 'class3'; they share a split"),
    "other sizes and modes": (
        lambda p: Image.new("CMYK", (100, 40)).save(p / "class0" / "wide.jpg"), "files have 2 sizes"),
}  # fmt: skip


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_can_be_left_out_is_and_told(what, cli, mine):
    spoil, sentence = LEFT_OUT[what]
    spoil(mine)
    told = cli("tasks", mine)
    assert told.code == 0, told.err
    assert sentence in " ".join((told.out + told.err).split()).casefold()


def npz(path: Path, **changes: object) -> Path:
    images, labels = drawings(CLASSES, EACH)
    np.savez(path, **{"images": images, "labels": labels, **changes})
    return path


def npz_of_terabytes(path: Path) -> Path:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (8, 1048576, 1048576)}".ljust(117)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + head + b"\n")
    return path


def zip_bomb(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", b"\0" * (8 * 2**20))
    return path


def zip_of_links(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../out.png", "/etc/passwd.png", "C:/x.png"):
            archive.writestr(zipfile.ZipInfo(name), b"x")
        one = zipfile.ZipInfo("a/link.png")
        one.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(one, "/etc/passwd")
    return path


def tar_of(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.add(folder, "mine")
    return path


def at_the_top(place: Path) -> Path:
    return write_tree(place / "top", [""], each=6)


def with_nan(place: Path) -> Path:
    images = drawings(CLASSES, EACH)[0] / 255
    images[3, 2, 2] = np.nan
    return npz(place / "x.npz", images=images)


REFUSED = {
    "nothing there": (lambda p: p / "none", "is no task source, and no such file exists"),
    "an empty folder": (lambda p: (p / "e").mkdir() or p / "e", "no images in it; wanted is class/"),
    "images at the top": (at_the_top, "6 images lie at the top"),
    "too few classes": (lambda p: write_tree(p / "few", CLASSES[:3], EACH), "3 classes cannot be"),
    "too few images": (lambda p: write_tree(p / "few", CLASSES, 4), "no class has 7 different images"),
    "mostly damaged": (
        lambda p: [f.write_bytes(b"") for f in sorted((p / "mine").rglob("0*.png"))] and p / "mine",
        "images cannot be read, more than 5%",
    ),
    "a zip bomb": (lambda p: zip_bomb(p / "a.zip"), "would unpack"),
    "a zip that leads elsewhere": (lambda p: zip_of_links(p / "a.zip"), "no images in it"),
    "a tar": (lambda p: tar_of(p / "mine", p / "a.tar"), "allowed are a folder and a zip"),
    "pickled arrays": (
        lambda p: npz(p / "x.npz", images=np.array([[None]] * 48)), "pickled Python objects"),
    "an npz of terabytes": (lambda p: npz_of_terabytes(p / "x.npz"), "promises"),
    "numbers that are none": (with_nan, "image 3 holds values that are not finite"),
    "labels of another length": (
        lambda p: npz(p / "x.npz", labels=np.zeros(7, int)), "for 160 images"),
    "negative labels": (
        lambda p: npz(p / "x.npz", labels=np.arange(160) - 5), "label -5 of image 0 is negative"),
    "no labels": (lambda p: npz(p / "x.npz", labels=np.array(None)), "labels"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_ends_with_2_in_one_line(what, cli, mine, place):
    make, message = REFUSED[what]
    told = cli("tasks", make(place))
    assert told.code == 2
    lines = [line for line in told.err.splitlines() if not line.startswith("reading ")]
    assert len(lines) == 1, told.err
    assert message in lines[0]
    assert told.out == ""


def test_a_sound_zip_is_read_in_place(cli, mine, place):
    told = cli("tasks", zip_tree(mine, place / "mine.zip"))
    assert told.code == 0
    assert "8 classes, each a task" in told.out
    assert not [path for path in place.iterdir() if path.name not in {"mine", "mine.zip"}]
