"""A user's few images, brought to the shape and polarity a bundle was trained on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metasearch.errors import DataError
from metasearch.tasks.base import Batch, Shape
from metasearch.tasks.decode import decode_all, resize_square, to_grey
from metasearch.tasks.tree import Member, listing

Images = str | Path | Sequence[str | Path | Image.Image] | np.ndarray | Tensor
"""A folder, a file, files, PIL images, or an array [n, h, w] or [n, h, w, c]."""


def prepare(images: Images, shape: Shape, paper: float) -> tuple[Tensor, bool]:
    """Images [n, c, h, w] in [-1, 1], and whether light and dark were exchanged.

    `paper` is the border of the training images: where the user's border is at the other end,
    ink is dark on light in one and light on dark in the other.

    Raises:
        DataError: there is no image, or one cannot be read.
    """
    pixels = _pixels(images, shape)
    support = torch.from_numpy(pixels).float() / 127.5 - 1
    inverted = abs(border({"x": support}) - paper) > 1
    return (-support if inverted else support), inverted


def border(images: Batch) -> float:
    """The median of the outermost rows and columns, in [-1, 1]: what paper looks like."""
    x = next(iter(images.values()))
    edges = (x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1])
    return float(torch.cat([edge.flatten() for edge in edges]).median())


def _pixels(images: Images, shape: Shape) -> np.ndarray:
    """uint8 [n, c, h, w]."""
    if isinstance(images, np.ndarray | Tensor):
        return _from_array(np.asarray(images), shape)
    if isinstance(images, str | Path):
        images = [images]
    if not images:
        raise DataError("no images to adapt to; give a folder, files, or an array.")
    if len(images) == 1 and isinstance(images[0], str | Path) and Path(images[0]).is_dir():
        with listing(Path(images[0])) as found:
            if not found.members:
                raise DataError(
                    f"{images[0]}: no image in this folder; allowed are PNG, JPEG, BMP, GIF, WEBP "
                    "and TIFF files."
                )
            return decode_all(found.members, shape[1], shape[0]).images
    return decode_all([_member(one) for one in images], shape[1], shape[0]).images


def _member(one: str | Path | Image.Image) -> Member:
    if isinstance(one, Image.Image):
        held = io.BytesIO()
        one.save(held, "PNG" if one.mode not in {"CMYK", "F"} else "TIFF")
        return Member(("an image",), "", held.getvalue)
    path = Path(one)
    if not path.is_file():
        raise DataError(f"{path} does not exist; give image files, or one folder of them.")
    return Member((str(path),), "", path.read_bytes)


def _from_array(array: np.ndarray, shape: Shape) -> np.ndarray:
    if array.ndim not in {3, 4} or (array.ndim == 4 and array.shape[-1] not in {1, 3}):
        raise DataError(
            f"an array of shape {array.shape}; allowed are [n, h, w] and [n, h, w, c] with 1 or 3 "
            "channels last."
        )
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise DataError("an array of floats outside 0 to 1; scale it, or give integers 0-255.")
        array = np.rint(array * 255)
    elif array.min() < 0 or array.max() > 255:
        raise DataError("an array of integers outside 0 to 255; scale it.")
    flat = array.astype(np.uint8)
    flat = flat[..., 0] if flat.ndim == 4 and flat.shape[-1] == 1 else flat
    grey = shape[0] == 1
    pictures = [resize_square(to_grey(x) if grey else _colour(x), shape[1]) for x in flat]
    stacked = np.stack(pictures)
    return stacked[:, None] if grey else np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def _colour(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
