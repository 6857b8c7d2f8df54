from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFile

from metasearch.errors import DataError
from metasearch.tasks.decode import decode_all, resize_square
from metasearch.tasks.tree import Member


def member(data: bytes, name: str = "x.png") -> Member:
    return Member((name,), "stamp", lambda: data)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(image: Image.Image, kind: str = "PNG", *, size=8, channels=None, **options):
    out = decode_all([member(saved(image, kind, **options))], size, channels)
    assert out.corrupt == []
    return out.images[0]


NOISE = saved(Image.effect_noise((32, 32), 50))
GOOD = saved(Image.new("L", (8, 8), 77))


@pytest.mark.parametrize(
    ("mode", "colour", "grey"),
    [
        ("1", 1, 255),
        ("L", 100, 100),
        ("LA", (100, 255), 100),
        ("I;16", 100 * 257, 100),
    ],
)
def test_grey_modes_become_one_channel(mode, colour, grey):
    picture = decoded(Image.new(mode, (8, 8), colour))
    assert picture.shape == (1, 8, 8)
    assert np.unique(picture).tolist() == [grey]


@pytest.mark.parametrize(
    ("mode", "colour", "kind"),
    [
        ("RGB", (200, 100, 50), "PNG"),
        ("RGBA", (200, 100, 50, 255), "PNG"),
        ("CMYK", (55, 155, 205, 0), "TIFF"),
    ],
)
def test_colour_modes_become_three_channels(mode, colour, kind):
    picture = decoded(Image.new(mode, (8, 8), colour), kind)
    assert picture.shape == (3, 8, 8)
    np.testing.assert_allclose(picture[:, 0, 0], [200, 100, 50], atol=1)


def test_palettes_are_looked_up():
    picture = decoded(Image.new("RGB", (8, 8), (200, 100, 50)).quantize(4))
    np.testing.assert_allclose(picture[:, 0, 0], [200, 100, 50], atol=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode):
    picture = decoded(Image.new(mode, (8, 8)))
    assert np.unique(picture).tolist() == [255]


def test_a_transparent_colour_of_a_palette_is_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert np.unique(decoded(image, transparency=0)).tolist() == [255]


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    picture = decoded(Image.fromarray(ramp))
    np.testing.assert_allclose(picture[0], ramp / 257, atol=0.51)


def test_floats_in_zero_to_one_are_scaled():
    ramp = np.linspace(0, 1, 64).astype(np.float32).reshape(8, 8)
    picture = decoded(Image.fromarray(ramp), "TIFF")
    np.testing.assert_allclose(picture[0], ramp * 255, atol=0.51)


def test_a_photograph_taken_sideways_is_turned_upright():
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (0, 0, 4, 8))  # left half light
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees
    picture = decoded(image, "JPEG", exif=exif, quality=95)[0]
    assert picture[:3].min() > 200
    assert picture[5:].max() < 50


def test_the_first_frame_of_a_moving_picture_counts():
    frames = [Image.new("L", (8, 8), v) for v in (40, 200)]
    picture = decoded(frames[0], "GIF", save_all=True, append_images=frames[1:], channels=1)
    assert np.unique(picture).tolist() == [40]


def test_the_format_is_told_by_content_not_by_name():
    jpeg = saved(Image.new("L", (8, 8), 50), "JPEG")
    out = decode_all([member(jpeg, "called.png")], 8, None)
    assert out.kept == [0]


def test_grey_and_colour_together_are_colour_unless_grey_is_wanted():
    files = [member(GOOD), member(saved(Image.new("RGB", (8, 8), (255, 0, 0))))]
    assert decode_all(files, 8, None).images.shape == (2, 3, 8, 8)
    grey = decode_all(files, 8, 1).images
    assert grey.shape == (2, 1, 8, 8)
    assert grey[1, 0, 0, 0] == 76  # luminance of red


def test_grey_saved_as_colour_is_grey():
    assert decoded(Image.new("RGB", (8, 8), (9, 9, 9))).shape == (1, 8, 8)
    assert decoded(Image.new("L", (8, 8), 9), channels=3).shape == (3, 8, 8)


def test_a_wide_picture_is_padded_in_the_colour_of_its_border_and_not_stretched():
    wide = np.full((10, 20), 200, np.uint8)
    wide[3:7, 8:12] = 0  # a square of 4
    square = resize_square(wide, 20)
    assert square.shape == (20, 20)
    assert square[0, 0] == 200
    assert (square[8:12, 8:12] == 0).all()
    assert (square == 0).sum() == 16


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not an image of a known format"),
        (b"<html>not found</html>", "not an image of a known format"),
        (NOISE[:300], ""),
        (saved(Image.new("L", (5000, 2))), "5000x2 pixels; at most 4096"),
        (saved(Image.new("1", (4096, 4097))), "at most 4096"),
    ],
)
def test_damaged_and_oversized_files_are_listed_and_left_out(data, reason):
    files = [member(GOOD, f"{i}.png") for i in range(30)] + [member(data, "bad.png")]
    out = decode_all(files, 8, None)
    assert len(out.images) == 30
    assert out.kept == list(range(30))
    assert len(out.corrupt) == 1
    assert out.corrupt[0].startswith("bad.png: ")
    assert reason in out.corrupt[0]


def test_a_small_file_that_unpacks_to_gigapixels_is_not_unpacked(monkeypatch):
    bomb = saved(Image.new("1", (9000, 9000)))
    assert len(bomb) < 20_000

    def never(*_):
        raise AssertionError("decoded before its size was looked at")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    with pytest.raises(DataError, match="9000x9000 pixels"):
        decode_all([member(bomb)], 8, None)


def test_a_photograph_of_48_megapixels_is_read_at_half_its_size():
    large = Image.new("RGB", (8064, 6048), "white")
    large.paste("black", (0, 0, 4032, 6048))
    out = decode_all([member(saved(large, "JPEG"), "photo.jpg")], 16, 1)
    assert out.corrupt == []
    assert out.sizes == {"4032x3024": 1}
    upper = out.images[0, 0, 8]
    assert (upper[:7] < 10).all() and (upper[9:] > 245).all()


def test_more_than_one_in_twenty_damaged_is_refused_with_examples():
    files = [member(GOOD)] * 18 + [member(b"no", "one.png"), member(b"no", "two.png")]
    with pytest.raises(DataError, match=r"2 of 20 images cannot be read.*one\.png: not an image"):
        decode_all(files, 8, None)


def test_a_format_that_few_look_at_is_not_decoded():
    pcx = saved(Image.new("L", (8, 8), 50), "PCX")
    with pytest.raises(DataError, match="not an image of a known format"):
        decode_all([member(pcx)], 8, None)


def test_a_file_that_cannot_be_opened_counts_as_damaged():
    def gone() -> bytes:
        raise FileNotFoundError("gone")

    files = [member(GOOD)] * 30 + [Member(("x.png",), "", gone)]
    assert decode_all(files, 8, None).corrupt == ["x.png: gone"]


def test_more_than_memory_holds_is_refused_before_reading():
    def never() -> bytes:
        raise AssertionError("read")

    with pytest.raises(DataError, match="GiB of memory"):
        decode_all([Member(("x.png",), "", never)] * 10_000, 512, None)


def test_sizes_and_modes_are_counted():
    out = decode_all([member(GOOD), member(saved(Image.new("1", (9, 5))))], 8, None)
    assert dict(out.modes) == {"L": 1, "1": 1}
    assert dict(out.sizes) == {"8x8": 1, "9x5": 1}
