"""A user's images in any clothes are the same images."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

from metasearch.bundle.adapted import picture, save_images
from metasearch.bundle.images import prepare
from metasearch.bundle.load import load_bundle
from metasearch.bundle.save import save_bundle
from metasearch.errors import DataError
from tests.bundle.conftest import contents_of, rewrite, squares
from tests.small import blobs_file, config

SHAPE, DARK = (1, 8, 8), -1.0


def prepared(images, shape=SHAPE, paper=DARK) -> torch.Tensor:
    return prepare(images, shape, paper)[0]


@pytest.fixture
def plain() -> torch.Tensor:
    """What every form of `squares` should become."""
    return torch.from_numpy(squares()).float()[:, None] / 127.5 - 1


def forms(folder) -> dict[str, object]:
    """`squares` as people have them."""
    paths = sorted(folder.iterdir())
    pixels = squares()
    pictures = [Image.fromarray(x) for x in pixels]
    return {
        "folder": folder,
        "folder as text": str(folder),
        "files": paths,
        "files as text": [str(path) for path in paths],
        "PIL": pictures,
        "opened files": [Image.open(path) for path in paths],
        "files and PIL": [*paths[:2], *pictures[2:]],
        "bytes": pixels,
        "integers": pixels.astype(np.int64),
        "floats": pixels / 255,
        "floats from -1": pixels / 127.5 - 1,
        "with channel": pixels[..., None],
        "channel first": pixels[:, None],
        "three channels": np.repeat(pixels[..., None], 3, 3),
        "tensor": torch.from_numpy(pixels),
        "tensor of floats": (torch.from_numpy(pixels)[:, None] / 255).requires_grad_(),
        "RGB": [x.convert("RGB") for x in pictures],
        "RGBA": [x.convert("RGBA") for x in pictures],
        "LA": [x.convert("LA") for x in pictures],
        "P": [x.convert("P") for x in pictures],
        "YCbCr": [x.convert("YCbCr") for x in pictures],
        "HSV": [x.convert("HSV") for x in pictures],
        "16 bit": [Image.fromarray(x.astype(np.uint16) * 257) for x in pixels],
        "floating": [Image.fromarray(x.astype(np.float32)) for x in pixels],
        "CMYK": [x.convert("CMYK") for x in pictures],
    }


def test_every_form_gives_the_same_images(images, plain):
    for name, form in forms(images).items():
        found, inverted = prepare(form, SHAPE, DARK)
        assert not inverted, name
        torch.testing.assert_close(found, plain, atol=1e-6, rtol=0, msg=f"{name} differs")


@pytest.mark.parametrize("mode", ["JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_other_formats_are_read(tmp_path, mode):
    for i, pixels in enumerate(squares()):
        Image.fromarray(pixels).save(tmp_path / f"{i}.{mode.lower()}")
    assert prepared(tmp_path).shape == (5, 1, 8, 8)


def test_black_and_white_is_black_and_white():
    bits = squares() > 128
    expected = torch.from_numpy(bits).float()[:, None] * 2 - 1
    assert torch.equal(prepared(bits), expected)
    assert torch.equal(prepared([Image.fromarray(x) for x in bits]), expected)


def test_files_that_lie_on_their_side_are_put_upright(tmp_path, plain):
    for i, pixels in enumerate(squares()):
        turned = Image.fromarray(np.rot90(pixels))  # to the left, so a viewer turns it right
        exif = turned.getexif()
        exif[0x0112] = 6
        turned.save(tmp_path / f"{i}.png", exif=exif)
    torch.testing.assert_close(prepared(tmp_path), plain, atol=1e-6, rtol=0)
    opened = [Image.open(path) for path in sorted(tmp_path.iterdir())]
    torch.testing.assert_close(prepared(opened), plain, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (9, 5), (40, 90), (500, 500), (1, 1)])
def test_any_size_becomes_the_models(size):
    grey = [Image.new("L", size, 60), Image.new("L", (13, 8), 60)]
    found = prepared(grey)
    assert found.shape == (2, 1, 8, 8)
    assert torch.allclose(found, torch.tensor(60 / 127.5 - 1))


def test_one_image_is_enough(written, images):
    first = sorted(images.iterdir())[0]
    bundle = load_bundle(written)
    with Image.open(first) as opened:
        drawn = [bundle.adapt(one).sample(2) for one in (first, str(first), [first], opened)]
    assert all(torch.equal(drawn[0], other) for other in drawn[1:])


def test_colour_becomes_grey_for_a_grey_model_and_grey_becomes_colour_for_a_colour_model():
    red = Image.new("RGB", (8, 8), (200, 0, 0))
    grey = round(200 * 0.299) / 127.5 - 1
    assert torch.allclose(prepared(red), torch.tensor(grey), atol=1 / 127)
    colour = prepared([red, Image.new("L", (8, 8), 200)], shape=(3, 8, 8), paper=0.0)
    assert colour.shape == (2, 3, 8, 8)
    means = ((colour.mean((2, 3)) + 1) * 127.5).round()
    assert means.tolist() == [[200, 0, 0], [200, 200, 200]]


def test_a_colour_model_draws_colour(tmp_path, images):
    recipe = config(blobs_file(tmp_path / "colour.npz", colour=True))
    bundle = load_bundle(save_bundle(contents_of(recipe), tmp_path / "b"))
    assert bundle.shape == (3, 8, 8)
    drawn = bundle.adapt(images).sample(3)
    assert drawn.shape == (3, 3, 8, 8)
    save_images(drawn, tmp_path / "out")
    with Image.open(tmp_path / "out" / "0002.png") as image:
        assert image.mode == "RGB"


def test_dark_on_light_images_come_back_dark_on_light(written):
    """The same ink on the other paper is the same to the model; what it draws is turned back."""
    bundle = load_bundle(written)
    light = bundle.adapt(squares())
    dark = bundle.adapt(255 - squares())
    assert (light.inverted, dark.inverted) == (False, True)
    assert torch.allclose(light.support["x"], dark.support["x"], atol=1e-6)
    assert torch.allclose(dark.given(), torch.from_numpy(255 - squares())[:, None] / 255, atol=1e-6)
    torch.testing.assert_close(dark.sample(5), 1 - light.sample(5), atol=1e-4, rtol=0)


def test_a_model_of_dark_ink_gets_light_ink_turned(bundle):
    rewrite(bundle / "adaptation.json", lambda plan: plan.update(border=1.0))
    found = load_bundle(bundle)
    assert found.adapt(squares()).inverted
    assert not found.adapt(255 - squares()).inverted


def test_the_picture_shows_your_images_beside_what_was_drawn_in_their_own_polarity(written):
    adapted = load_bundle(written).adapt(255 - squares())
    sheet = np.asarray(picture(adapted, adapted.given()[:4]).convert("L")).astype(int)
    yours, drawn = np.array_split(sheet[24:], 2, axis=1)
    assert (sheet[:24] < 100).any()  # the titles
    assert np.sum(yours > 220) > np.sum(yours < 60) > 0
    assert np.sum(drawn > 220) > np.sum(drawn < 60) > 0


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 50])
def test_a_picture_of_any_number_of_samples_is_drawn(written, n):
    adapted = load_bundle(written).adapt(squares())
    sheet = picture(adapted, torch.rand(n, 1, 8, 8))
    assert min(sheet.size) > 56


def test_samples_as_files_are_the_samples(written, tmp_path):
    drawn = load_bundle(written).adapt(squares()).sample(3)
    save_images(drawn, tmp_path / "deep" / "out")
    paths = sorted((tmp_path / "deep" / "out").iterdir())
    assert [path.name for path in paths] == ["0000.png", "0001.png", "0002.png"]
    read = np.stack([np.asarray(Image.open(path)) for path in paths])
    assert np.array_equal(read, (drawn[:, 0] * 255).round().numpy())


def wrong(folder) -> dict[str, tuple[object, str]]:
    (folder / "empty").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "read.me").write_text("no image")
    (folder / "classes" / "oak").mkdir(parents=True)
    (folder / "torn").mkdir()
    for i in range(30):
        Image.new("L", (8, 8)).save(folder / "torn" / f"{i}.png")
    Image.new("L", (8, 8)).save(folder / "classes" / "oak" / "1.png")
    (folder / "torn" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return {
        "nothing there": (folder / "nowhere", "nowhere does not exist; .* Give image files"),
        "a pattern that met none": (folder / "*.gif", r"\*\.gif does not exist; .* holds "),
        "no file": ([folder / "nowhere.png"], "nowhere.png does not exist"),
        "a folder among files": ([folder / "empty"], "empty is a folder; give image files"),
        "empty folder": (folder / "empty", "no image in this folder; allowed are PNG"),
        "no images in it": (folder / "notes", "no image in this folder"),
        "folders of classes": (folder / "classes", r"lie in folders \(oak\).*classes/oak\."),
        "no image": (folder / "notes" / "read.me", "read.me: not an image of a known format"),
        "one of many is torn": (folder / "torn", "1 of 30 images cannot be read: 7.png: "),
        "an empty list": ([], "no images to adapt to"),
        "an empty array": (np.zeros((0, 8, 8)), r"shape \(0, 8, 8"),
        "a single array": (np.zeros((8, 8)), r"shape \(8, 8\); wanted is \(n, h, w\)"),
        "two channels": (np.zeros((2, 8, 8, 2)), r"shape \(2, 8, 8, 2\)"),
        "large floats": (np.full((2, 8, 8), 7.0), "floats from 7 to 7"),
        "not a number": (np.full((2, 8, 8), np.nan), "not finite"),
        "large integers": (np.full((2, 8, 8), 256), "of type int64"),
        "text": (np.array([[["a"]]]), "of type <U1"),
        "numbers": ([1, 2], "an image of type int; allowed are a folder, image files"),
        "a mapping": ({"x": 1}, "images of type dict"),
        "a picture out of range": (
            [Image.fromarray(np.full((8, 8), 900.0, np.float32))],
            "a PIL image cannot be read .float values up to 900",
        ),
    }  # fmt: skip


def test_what_is_no_image_is_told_in_one_message(tmp_path):
    for name, (given, message) in wrong(tmp_path).items():
        with pytest.raises(DataError) as told:
            prepared(given)
        assert re.search(message, str(told.value)), f"{name}: {told.value}"
