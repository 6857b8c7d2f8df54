"""One image file to one small array, whatever its mode, and never at the price of the machine."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from metasearch.errors import DataError
from metasearch.tasks.tree import Member

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # no decoder that is rarely looked at
MAX_SIDE = 4096
MAX_PIXELS = 16 * 2**20
MAX_CORRUPT = 0.05
MAX_BYTES = 4 * 2**30  # of all decoded images together

BROKEN = (
    OSError,
    ValueError,
    SyntaxError,  # how Pillow says that a PNG is damaged
    EOFError,
    OverflowError,
    NotImplementedError,
    RuntimeError,  # an encrypted zip member
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass
class Decoded:
    """Images of one size, and what was met on the way."""

    images: np.ndarray  # uint8 [n, c, size, size]
    kept: list[int]  # which of the members these are
    corrupt: list[str] = field(default_factory=list)  # "path: why", of those that are not
    modes: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)


def decode_all(members: Sequence[Member], size: int, channels: int | None) -> Decoded:
    """Decode every file once, now: a broken one is found here and not in the middle of training.

    Args:
        members: the files.
        size: side of the result in pixels.
        channels: 1 or 3; None for 3 if any image has colour, else 1.

    Raises:
        DataError: more than 5 % of the files cannot be decoded, or together they are too large.
    """
    if len(members) * size * size * 3 > MAX_BYTES:
        raise DataError(
            f"{len(members):,} images of {size}x{size} pixels need more than "
            f"{MAX_BYTES // 2**30} GiB of memory. Lower `size`, or give fewer images."
        )
    out = Decoded(np.zeros((0, channels or 1, size, size), np.uint8), [])
    pictures = []
    with quiet():
        for i, member in enumerate(members):
            try:
                picture = decode_one(member.read(), out)
            except BROKEN as error:
                out.corrupt.append(f"{'/'.join(member.parts)}: {_reason(error)}")
                continue
            pictures.append(resize_square(np.asarray(picture), size))
            out.kept.append(i)
    if len(out.corrupt) > MAX_CORRUPT * len(members):
        raise DataError(
            f"{len(out.corrupt)} of {len(members)} images cannot be read, more than "
            f"{MAX_CORRUPT:.0%}: {'; '.join(out.corrupt[:3])}. Allowed are "
            f"{', '.join(FORMATS)} up to {MAX_SIDE} pixels a side. Repair or remove them."
        )
    if pictures:
        out.images = _stack(pictures, channels)
    return out


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow's remarks on odd metadata are no news; its doubts about huge images are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    return text[:120] or type(error).__name__


def read_picture(data: bytes) -> Image.Image | str:
    """One file, upright, to mode L or RGB; or why it cannot be read."""
    try:
        with quiet():
            return decode_one(data, Decoded(np.zeros((0, 1, 1, 1), np.uint8), []))
    except BROKEN as error:
        return _reason(error)


def decode_one(data: bytes, seen: Decoded) -> Image.Image:
    """To mode L or RGB, upright, the first frame only; `seen` counts its size and mode.

    A photograph in JPEG that is too large is decoded at a half, a fourth or an eighth of its size.

    Raises:
        `BROKEN`: one of these: it cannot be decoded, or is too large.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if max(image.size) > MAX_SIDE:
            image.draft(None, (MAX_SIDE // 2, MAX_SIDE // 2))  # does nothing but to a JPEG
        width, height = image.size
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            raise ValueError(f"{width}x{height} pixels; at most {MAX_SIDE} a side, and 16 million")
        mode = image.mode
        image.load()
        upright = plain(ImageOps.exif_transpose(image))
    seen.modes[mode] += 1
    seen.sizes[f"{width}x{height}"] += 1
    return upright


def plain(image: Image.Image) -> Image.Image:
    """To mode L or RGB, by one explicit conversion for each kind of mode.

    Raises:
        ValueError: floats or integers out of the range of pixels.
    """
    if image.mode in {"L", "RGB"}:
        transparent = "transparency" in image.info
        return _over_white(image.convert("RGBA"), grey=image.mode == "L") if transparent else image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in {"LA", "La"}:
        return _over_white(image.convert("LA").convert("RGBA"), grey=True)
    if image.mode in {"RGBA", "RGBa", "PA"} or (image.mode == "P" and "transparency" in image.info):
        return _over_white(image.convert("RGBA"), grey=False)
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_scaled(np.asarray(image)))
    return image.convert("RGB")  # P, CMYK, YCbCr, HSV, LAB


def _over_white(image: Image.Image, *, grey: bool) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("L" if grey else "RGB")


def _scaled(values: np.ndarray) -> np.ndarray:
    """Integers of 16 bits, or floats in 0..1 or 0..255, to 8 bits by scaling, not by clipping."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535):
        raise ValueError(f"values from {low:g} to {high:g}; allowed are 0 to 65535")
    if values.dtype.kind == "f":
        top = 1.0 if high <= 1 else 255.0
        if high > 255:
            raise ValueError(f"float values up to {high:g}; allowed are 0 to 1 and 0 to 255")
    else:
        top = 65535.0
    return np.rint(values * (255.0 / top)).astype(np.uint8)


def resize_square(picture: np.ndarray, size: int) -> np.ndarray:
    """Padded to a square in the colour of the border, then Lanczos; uint8 [h, w(, 3)]."""
    height, width = picture.shape[:2]
    side = max(width, height)
    if width != height:
        canvas = np.empty((side, side, *picture.shape[2:]), np.uint8)
        canvas[:] = _border_colour(picture)
        top, left = (side - height) // 2, (side - width) // 2
        canvas[top : top + height, left : left + width] = picture
        picture = canvas
    if side == size:
        return picture
    image = Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _border_colour(picture: np.ndarray) -> np.ndarray:
    sides = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    return np.median(np.concatenate(sides), axis=0).astype(np.uint8)


def _stack(pictures: Sequence[np.ndarray], channels: int | None) -> np.ndarray:
    """Arrays [h, w] and [h, w, 3] to one [n, c, h, w]; grey stays grey unless colour is wanted."""
    if channels is None:
        colour = any(p.ndim == 3 and (p != p[..., :1]).any() for p in pictures)
        channels = 3 if colour else 1
    if channels == 1:
        return np.stack([to_grey(p) for p in pictures])[:, None]
    whole = [p if p.ndim == 3 else np.repeat(p[..., None], 3, axis=2) for p in pictures]
    return np.ascontiguousarray(np.stack(whole).transpose(0, 3, 1, 2))


def to_grey(picture: np.ndarray) -> np.ndarray:
    """Luminance (ITU-R 601) of uint8 [h, w, 3], or [h, w] as it is."""
    return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))
