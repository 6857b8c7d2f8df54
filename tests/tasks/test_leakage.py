from __future__ import annotations

import numpy as np

from metasearch.rng import Stream
from metasearch.tasks.leakage import check, fit_ink
from tests.tasks.drawings import drawing, drawings


def classes(names, each=6):
    images, owner = drawings(names, each)
    numbers = {n: i for i, n in enumerate(names)}
    return 255 - images[:, None], np.array([numbers[n] for n in owner])


NAMES = ("a", "b", "c", "d", "e", "f")
SPLIT = ("train", "train", "inner", "search", "confirm", "test")


def test_different_classes_are_clean():
    report = check(*classes(NAMES), NAMES, SPLIT)
    assert report.clean
    assert report.dropped == ()


def test_a_shared_image_costs_the_later_class_its_place():
    images, owner = classes(NAMES)
    images[owner == 5] = np.roll(images[owner == 5], 2, axis=2)
    images[np.flatnonzero(owner == 5)[3]] = images[np.flatnonzero(owner == 0)[1]]
    report = check(images, owner, NAMES, SPLIT)
    assert report.dropped == ("f",)
    assert report.examples == ("f (test) shares 1 image with a (train)",)
    assert report.clean


def test_the_order_of_classes_does_not_matter():
    images, owner = classes(NAMES)
    images[np.flatnonzero(owner == 5)[3]] = images[np.flatnonzero(owner == 0)[1]]
    turned = check(images, 5 - owner, NAMES[::-1], SPLIT[::-1])
    assert turned.dropped == ("f",)


def test_the_same_sign_drawn_by_others_is_near_whatever_its_place_and_size():
    """Class f is drawn as class a is, by other hands, and in another corner."""
    images, owner = classes(NAMES)
    other = np.stack([drawing("a", i) for i in range(50, 56)])
    images[owner == 5, 0] = np.roll(255 - other, 1, axis=(1, 2))
    report = check(images, owner, NAMES, SPLIT)
    assert report.dropped == ("f",)
    assert "f (test) nearly equals, cosine 0.9" in report.examples[0]
    assert "a (train)" in report.examples[0]


def test_twins_within_a_split_are_no_leak():
    images, owner = classes(NAMES)
    images[owner == 1] = images[owner == 0]
    assert check(images, owner, NAMES, SPLIT).dropped == ()


def test_what_resembles_only_a_dropped_class_stays():
    """c is dropped for a; f shares with c only, so once c is gone nothing was seen of f."""
    images, owner = classes(NAMES)
    first = {n: np.flatnonzero(owner == i)[0] for i, n in enumerate(NAMES)}
    images[first["c"]] = images[first["a"]]
    images[first["f"]] = images[first["c"] + 1]
    assert check(images, owner, NAMES, SPLIT).dropped == ("c",)


def test_kept_leaks_are_counted_and_not_clean():
    images, owner = classes(NAMES)
    images[owner == 5] = images[owner == 0]
    report = check(images, owner, NAMES, SPLIT, drop=False)
    assert (report.same_bytes, report.near_classes, report.dropped) == (6, 1, ())
    assert not report.clean
    assert len(report.examples) == 2


def test_photographs_are_not_near_for_being_bright():
    """Means of unrelated photographs have cosines above 0.98: they share light, not content."""
    rng = Stream(0).at("photos").numpy()
    waves = rng.normal(size=(6, 1, 3, 4, 4)).repeat(8, 3).repeat(8, 4)
    grain = rng.normal(size=(6, 20, 3, 32, 32))
    images = np.clip(190 + 12 * waves + 5 * grain, 0, 255).astype(np.uint8).reshape(-1, 3, 32, 32)
    means = images.reshape(6, -1, 3 * 32 * 32).mean(1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert (means @ means.T).min() > 0.98
    assert check(images, np.repeat(np.arange(6), 20), NAMES, SPLIT).clean
    assert check(images, np.repeat(np.arange(6), 20), NAMES, SPLIT).dropped == ()


def test_blank_pictures_do_not_break_it():
    images = np.zeros((12, 1, 24, 24), np.uint8)
    report = check(images, np.repeat(np.arange(6), 2), NAMES, SPLIT)
    assert report.dropped == ("c", "d", "e", "f")


def test_ink_is_fitted_whatever_its_place():
    import torch

    one, two = torch.zeros(2, 1, 1, 28, 28)
    one[..., 3:13, 2:8] = 1
    two[..., 15:25, 20:26] = 1
    torch.testing.assert_close(fit_ink(one), fit_ink(two))
    rows = (fit_ink(one)[0, 0] > 0.5).any(1).sum()
    columns = (fit_ink(one)[0, 0] > 0.5).any(0).sum()
    assert (rows, columns) == (20, 12)
    assert (fit_ink(one, stretch=True)[0, 0] > 0.5).any(0).sum() == 20
