"""A user's few images, brought to the shape and polarity a bundle was trained on."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from metasearch.errors import DataError
from metasearch.tasks.archive import to_pixels
from metasearch.tasks.base import Batch, Shape
from metasearch.tasks.decode import decode_all, plain
from metasearch.tasks.tree import Listing, Member, listing

Images = str | Path | Image.Image | Sequence[str | Path | Image.Image] | np.ndarray | Tensor
"""A folder, a file, a PIL image, several of the last two, or an array of images."""

_ALLOWED = "allowed are a folder, image files, PIL images, and an array [n, h, w] or [n, h, w, c]"


def prepare(images: Images, shape: Shape, paper: float) -> tuple[Tensor, bool]:
    """Images [n, c, h, w] in [-1, 1], and whether light and dark were exchanged.

    `paper` is the border of the training images: where the user's border is at the other end,
    ink is dark on light in one and light on dark in the other.

    Raises:
        DataError: there is no image, or one cannot be read.
    """
    found, inverted = prepare_all({"x": images}, shape, paper)
    return found["x"], inverted


def prepare_all(
    domains: Mapping[str, Images], shape: Shape, paper: float
) -> tuple[dict[str, Tensor], bool]:
    """The images of several domains, whose light and dark are exchanged in all of them or in none.

    Raises:
        DataError: a domain has no image, or one that cannot be read.
    """
    found = {d: in_range(images, shape) for d, images in domains.items()}
    inverted = abs(border({"all": torch.cat(list(found.values()))}) - paper) > 1
    return {d: -x if inverted else x for d, x in found.items()}, inverted


def in_range(images: Images, shape: Shape) -> Tensor:
    """Images [n, c, h, w] in [-1, 1], light and dark as they came.

    Raises:
        DataError: there is no image, or one cannot be read.
    """
    return torch.from_numpy(_pixels(images, shape)).float() / 127.5 - 1


def border(images: Batch) -> float:
    """The median of the outermost rows and columns, in [-1, 1]: what paper looks like."""
    x = next(iter(images.values()))
    edges = (x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1])
    return float(torch.cat([edge.flatten() for edge in edges]).median())


def _pixels(images: Images, shape: Shape) -> np.ndarray:
    """uint8 [n, c, h, w]."""
    if isinstance(images, str | Path) and Path(images).is_dir():
        with listing(Path(images)) as found:
            return _decoded(_of_one_class(found), shape)
    return _decoded([_member(one) for one in _several(images)], shape)


def _several(images: Any) -> Sequence[Any]:
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | Tensor):
        return _pictures(images)
    if not isinstance(images, Sequence):
        raise DataError(f"images of type {type(images).__name__}; {_ALLOWED}.")
    return images


def _pictures(images: np.ndarray | Tensor) -> list[Image.Image]:
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
    if array.dtype.kind in "iu" and array.size and 0 <= array.min() <= array.max() <= 255:
        array = array.astype(np.uint8)
    return [Image.fromarray(x[..., 0] if x.shape[-1] == 1 else x) for x in to_pixels(array)]


def _decoded(members: Sequence[Member], shape: Shape) -> np.ndarray:
    if not members:
        raise DataError(f"no images to adapt to; {_ALLOWED}.")
    found = decode_all(members, shape[1], shape[0])
    if found.corrupt:  # a source of thousands may lose a few, but these were picked by hand
        raise DataError(
            f"{len(found.corrupt)} of {len(members)} images cannot be read: "
            f"{'; '.join(found.corrupt[:3])}. Repair or remove them."
        )
    return found.images


def _of_one_class(found: Listing) -> list[Member]:
    if not found.members:
        raise DataError(
            f"{found.root}: no image in this folder; allowed are PNG, JPEG, BMP, GIF, WEBP and "
            "TIFF files. Give the folder that holds them."
        )
    below = sorted({member.folders[0] for member in found.members if member.folders})
    if below:
        raise DataError(
            f"{found.root}: its images lie in folders ({', '.join(below[:3])}), as those of "
            f"several classes do. Give the folder of one class, such as {found.root / below[0]}."
        )
    return found.members


def _member(one: Any) -> Member:
    if isinstance(one, Image.Image):
        return _encoded(one)
    if not isinstance(one, str | os.PathLike):
        raise DataError(f"an image of type {type(one).__name__}; {_ALLOWED}.")
    path = Path(one)
    if not path.is_file():
        raise absent(path)
    return Member((str(path),), "", path.read_bytes)


def absent(path: Path) -> DataError:
    """Of what is no file: a pattern that meets none is passed on as it was typed, and telephones
    write their endings in capitals; so it says what is there.
    """
    if path.is_dir():
        return DataError(f"{path} is a folder; give image files, or one folder of them.")
    beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    more = f" and {len(beside) - 3} more" if len(beside) > 3 else ""
    there = (
        f"{path.parent} holds {', '.join(beside[:3])}{more}" if beside else "nor does its folder"
    )
    return DataError(f"{path} does not exist; {there}. Give image files, or the folder of them.")


def _encoded(image: Image.Image) -> Member:
    """As a file, so that every image takes the same way."""
    try:
        held = io.BytesIO()
        plain(ImageOps.exif_transpose(image)).save(held, "PNG")
    except (OSError, ValueError) as error:
        raise DataError(f"a PIL image cannot be read ({error}). Repair or remove it.") from error
    return Member(("a PIL image",), "", held.getvalue)
