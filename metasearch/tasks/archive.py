"""Arrays in an .npz, read without trusting their headers."""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np

from metasearch.errors import DataError
from metasearch.tasks.base import SPLITS, Split
from metasearch.tasks.decode import MAX_BYTES, resize_square, to_grey
from metasearch.tasks.layout import Channels, split_named
from metasearch.tasks.reading import ImageClass, Reading, names_alike

KNOWN = ("images", "labels", "class_names", "groups", "split")
PIXELS = "(n, h, w), (n, h, w, c) or (n, c, h, w) as uint8 or as floats in 0..1 or -1..1"
WANTED = (
    f"wanted are `images` {PIXELS}, and `labels` (n,) as integers or text; `class_names`, `groups` "
    "and `split` if you like"
)


def read_archive(path: Path, *, size: int, channels: Channels) -> Reading:
    """Images and labels of an .npz as `WANTED` describes it.

    `groups` and `split` have one entry for each class, or for each image.

    Raises:
        DataError: the file is missing, damaged, pickled, too large, or its arrays do not fit.
    """
    arrays = load_plain(path, KNOWN)
    for name in ("images", "labels"):
        if name not in arrays:
            raise DataError(f"there is no array {name!r} in it; {WANTED}.")
    images = to_pixels(arrays["images"])
    numbers, names = _labels(arrays["labels"], arrays.get("class_names"), len(images))
    groups = _of_class("groups", arrays.get("groups"), numbers, len(names))
    given = _of_class("split", arrays.get("split"), numbers, len(names))
    classes = tuple(
        ImageClass(_short(name, group), group, _split(split))
        for name, group, split in zip(names, groups, given, strict=True)
    )
    kind = str(arrays["images"].dtype)
    return Reading(
        _shaped(images, size, channels),
        numbers,
        classes,
        {
            "files": 1,
            "modes": {kind: len(images)},
            "sizes": {f"{images.shape[2]}x{images.shape[1]}": len(images)},
            "names_alike": names_alike([c.task for c in classes]),
        },
    )


def load_plain(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of `names` that an .npz has. Headers are read and weighed before any array.

    Raises:
        DataError: the file is missing or damaged, holds pickles, or promises more than it holds.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; give the path of an .npz file.")
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
            if sum(i.file_size for i in infos.values()) > MAX_BYTES:
                raise DataError(f"it unpacks to more than {MAX_BYTES // 2**30} GiB; split it.")
            return {n: _load(archive, infos[n], n) for n in names if n in infos}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"no .npz that can be read ({error}); write it with np.savez.") from None


def _load(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    """One array, once its header is known to promise what the file holds.

    NumPy itself would allocate whatever a header says, eight tebibytes if need be.
    """
    try:
        with archive.open(info) as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise ValueError(f"format {version}")
            shape, _, dtype = read(file)
            held = info.file_size - file.tell()
    except (ValueError, TokenError) as error:  # NumPy reads headers as Python reads literals
        raise DataError(f"array {name!r} is no plain array ({error}).") from None
    if dtype.hasobject:
        raise DataError(
            f"array {name!r} holds pickled Python objects, which can run code and are never "
            "loaded. Save plain numbers or text: np.savez(..., labels=np.array(labels))."
        )
    if math.prod(shape) * dtype.itemsize != held:
        raise DataError(
            f"array {name!r} promises {shape} of {dtype} and holds {held} bytes: it is damaged."
        )
    try:
        array = np.lib.format.read_array(io.BytesIO(archive.read(info)), allow_pickle=False)
        if array.dtype.kind == "U" and array.size:
            codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(dtype.byteorder))
            if codes.max() > sys.maxunicode:  # NumPy would only notice where it is shown
                raise ValueError("it holds what is no character")
        return array
    except ValueError as error:
        raise DataError(f"array {name!r} cannot be read ({error}).") from None


def to_pixels(images: np.ndarray) -> np.ndarray:
    """An array as `PIXELS` describes it, to uint8 [n, h, w, c].

    Raises:
        DataError: it is another one.
    """
    if images.ndim == 3:
        images = images[..., None]
    elif images.ndim == 4 and images.shape[3] not in {1, 3} and images.shape[1] in {1, 3}:
        images = images.transpose(0, 2, 3, 1)
    if images.ndim != 4 or images.shape[3] not in {1, 3} or 0 in images.shape:
        raise DataError(f"`images` has the shape {images.shape}; wanted is {PIXELS}.")
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * 255
    if images.dtype.kind != "f":
        raise DataError(f"`images` is of type {images.dtype}; wanted is {PIXELS}. Cast it.")
    return _from_floats(images)


def _from_floats(images: np.ndarray) -> np.ndarray:
    finite = np.isfinite(images).reshape(len(images), -1).all(1)
    if not finite.all():
        raise DataError(
            f"image {int(np.argmin(finite))} holds values that are not finite "
            f"({int((~finite).sum())} images do). Remove or repair them."
        )
    low, high = float(images.min()), float(images.max())
    if low < -1 or high > 1:
        where = int(np.argmax((np.abs(images) > 1).reshape(len(images), -1).any(1)))
        raise DataError(
            f"`images` has floats from {low:g} to {high:g} (first in image {where}); allowed are "
            "0..1 and -1..1. Divide by 255, or save uint8."
        )
    unit = (images + 1) / 2 if low < 0 else images
    return np.rint(unit * 255).astype(np.uint8)


def _labels(
    labels: np.ndarray, class_names: np.ndarray | None, n: int
) -> tuple[np.ndarray, list[str]]:
    """The class of each image as a number, and the name of each number."""
    if labels.shape != (n,):
        raise DataError(f"`labels` has the shape {labels.shape} for {n} images; wanted is ({n},).")
    if labels.dtype.kind in "US":
        names, numbers = np.unique(labels.astype(str), return_inverse=True)
        return numbers.astype(int), names.tolist()
    if labels.dtype.kind not in "iu":
        raise DataError(f"`labels` is of type {labels.dtype}; allowed are integers and text.")
    if (labels < 0).any():
        first = int(np.argmax(labels < 0))
        raise DataError(f"label {int(labels[first])} of image {first} is negative; count from 0.")
    if class_names is None:
        values, numbers = np.unique(labels, return_inverse=True)
        width = len(str(values.max()))  # so that names sort as numbers do
        return numbers.astype(int), [f"{v:0{width}d}" for v in values.tolist()]
    if class_names.ndim != 1 or class_names.dtype.kind not in "US":
        raise DataError("`class_names` is no list of text; wanted is one name for each label.")
    if labels.max() >= len(class_names):
        first = int(np.argmax(labels >= len(class_names)))
        raise DataError(
            f"label {int(labels[first])} of image {first} has no name: `class_names` has "
            f"{len(class_names)}, so allowed is 0 to {len(class_names) - 1}."
        )
    return labels.astype(int), class_names.astype(str).tolist()


def _of_class(
    what: str, values: np.ndarray | None, numbers: np.ndarray, n_classes: int
) -> list[str | None]:
    """What is said of each class, given for each class or for each image."""
    if values is None:
        return [None] * n_classes
    if values.ndim != 1 or values.dtype.kind not in "USiu":
        raise DataError(f"`{what}` is no list of text; wanted is one entry for each class.")
    told = values.astype(str)
    if len(told) == n_classes:
        return list(told.tolist())
    if len(told) != len(numbers):
        raise DataError(
            f"`{what}` has {len(told)} entries; allowed is one for each of {n_classes} classes, "
            f"or one for each of {len(numbers)} images."
        )
    first = np.zeros(n_classes, int)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    differs = told != told[first][numbers]
    if differs.any():
        i = int(np.argmax(differs))
        raise DataError(
            f"`{what}` says {str(told[i])!r} of image {i} and {str(told[first][numbers][i])!r} of "
            "another of the same class; wanted is one for each class."
        )
    return list(told[first].tolist())


def _short(name: str, group: str | None) -> str:
    """The class without its group, where the name repeats it: "Greek/character01"."""
    return name.removeprefix(f"{group}/") if group else name


def _split(name: str | None) -> Split | None:
    if name is None:
        return None
    split = split_named(name)
    if split is None:
        raise DataError(f"`split` says {name!r}; allowed are {', '.join(SPLITS)}, val.")
    return split


def _shaped(images: np.ndarray, size: int, channels: Channels) -> np.ndarray:
    """To uint8 [n, c, size, size]."""
    if channels == 1 and images.shape[3] == 3:
        images = np.stack([to_grey(i) for i in images])[..., None]
    elif channels == 3 and images.shape[3] == 1:
        images = np.repeat(images, 3, axis=3)
    if images.shape[1:3] != (size, size):
        squared = [resize_square(i.squeeze(2) if i.shape[2] == 1 else i, size) for i in images]
        images = np.stack(squared).reshape(len(images), size, size, -1)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
