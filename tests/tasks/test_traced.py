"""Sources whose pictures are traced: the same tasks, as the strokes of a pen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from metasearch.errors import ConfigError, DataError
from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import SOURCES, Arrays, Conditional, ImageTasks, Traced, parse_source
from metasearch.tasks.base import SPLITS
from metasearch.tasks.jitter import FIELD, DrawnFields, Jitter
from metasearch.tasks.licence import FONTS, licence_of
from metasearch.tasks.pen import from_positions, positions, render
from metasearch.tasks.tracing import traced
from metasearch.tasks.ways import alike

COUNTS = {"shot": 2, "query": 2, "anchor": 1}
NAMES = [f"script{g}/letter{c}" for g in range(6) for c in range(3)]


def form(name, i):
    """Two strokes of a form of this class's own, a little different in each drawing: [4, 2]."""
    ends = Stream(0).at(name).numpy().uniform(-0.6, 0.6, (4, 2))
    return ends + Stream(0).at(name, i).numpy().normal(0, 0.05, (4, 2))


def picture(points, pen=(-1.0, 1.0, -1.0, 1.0)):
    """Two lines between four points, uint8 [28, 28], ink light."""
    at = torch.tensor(points, dtype=torch.float32)[None]
    drawn = render(from_positions(at, torch.tensor([pen])), 28)
    return ((drawn[0, 0] + 1) * 127.5).round().byte().numpy()


def ring(i):
    """A ring, a little different in each drawing."""
    angles = torch.linspace(0, 2 * torch.pi, 25)
    width, height = Stream(0).at("ring", i).numpy().uniform(0.5, 0.6, 2)
    return picture(
        torch.stack([width * angles.cos(), height * angles.sin()], 1).tolist(), [-1.0] + [1.0] * 24
    )


def archive(folder, pictures, *, names=tuple(NAMES)):
    images = np.stack([pictures(name, i) for name in names for i in range(6)])
    labels = np.repeat(names, 6)
    groups = np.array([name.split("/")[0] for name in np.unique(names)])
    np.savez(folder / "x.npz", images=images, labels=labels, groups=groups)
    return Arrays(path=str(folder / "x.npz"), leaks="keep", **COUNTS)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return archive(tmp_path_factory.mktemp("traced"), lambda name, i: picture(form(name, i)))


@pytest.fixture(scope="module")
def opened(source):
    return Traced(source=source, size=20, length=16).open()


def test_tasks_and_splits_are_those_of_what_is_traced(source, opened):
    below = source.open()
    for split in SPLITS:
        missing = set(below.tasks(split)) - set(opened.tasks(split))
        assert missing <= set(opened.leaks.dropped)
        assert set(opened.tasks(split)) <= set(below.tasks(split))
        assert all(opened.group(task) == below.group(task) for task in opened.tasks(split))
    assert opened.shape == (1, 20, 20) and opened.domains == ("x", "t")


def test_each_row_holds_the_strokes_of_its_image_and_the_picture_they_make(source, opened):
    task = opened.tasks("train")[0]
    stored = opened.images(task)
    assert torch.equal(stored["t"], traced(source.open().images(task)["x"], 16))
    torch.testing.assert_close(stored["x"], render(stored["t"], 20), atol=0.005, rtol=0)
    drawn = opened.episodes([task], shot=2, query=2, anchor=1, rng=Stream(0))
    known = {one.numpy().tobytes(): i for i, one in enumerate(stored["x"])}
    rows = [torch.cat([b[d] for b in (drawn.support, drawn.query, drawn.anchor)]) for d in "xt"]
    index = [known[one.numpy().tobytes()] for one in rows[0]]
    assert len(index) == 5 and torch.equal(rows[1], alike(stored["t"][index][None], 2)[0])
    assert (render(rows[1], 20) - rows[0]).abs().mean() < 0.02


def test_the_copy_in_the_cache_is_the_same_and_other_settings_have_another(source, opened):
    again = Traced(source=source, size=20, length=16).open()
    longer = Traced(source=source, size=20, length=24).open()
    assert again.fingerprint == opened.fingerprint != longer.fingerprint
    assert longer.images(longer.tasks("train")[0])["t"].shape[1:] == (24, 3)


def test_classes_that_differ_in_thickness_alone_leak_and_are_dropped(source, tmp_path):
    like, bold = (source.open().tasks(split)[0] for split in ("train", "test"))

    def drawn(name, i):
        if name in {like, bold}:
            return ring(i) if name == like else maximum_filter(ring(i), 7)
        return picture(form(name, i))

    found = archive(tmp_path, drawn)
    assert found.open().leaks.clean, "as they were drawn, nobody takes one for the other"
    assert bold in Traced(source=found).open().leaks.dropped
    assert bold in Traced(source=found, leaks="keep").open().tasks("test")


@dataclass(frozen=True)
class Jittered:
    """A source that draws its pictures anew each time."""

    plain: Arrays
    shot: int = 2
    query: int = 30  # more than are stored
    anchor: int = 0
    name: str = "jittered"

    def open(self):
        below = self.plain.open()
        names = {task: split for split in SPLITS for task in below.tasks(split)}
        images = torch.cat([below.images(task)["x"] for task in names])
        tasks = {task: below._find(task) for task in names}
        pictures = ((images + 1) * 127.5).byte().numpy()
        drawn = DrawnFields(Jitter(stroke=0.4), np.zeros((len(images), FIELD, FIELD), np.uint8))
        return ImageTasks(pictures, tasks, leaks=below.leaks, augmented=drawn)


def test_strokes_of_pictures_that_are_drawn_anew_are_drawn_anew_as_well(source):
    found = Traced(source=Jittered(source), length=16).open()
    assert found.jitter == Jitter(stroke=0.0)
    task = found.tasks("search")[0]
    drawn = found.episodes([task], shot=2, query=30, rng=Stream(0)).query
    assert len({one.numpy().tobytes() for one in drawn["t"]}) == 30
    assert (drawn["x"] - render(drawn["t"], 28)).abs().mean() < 0.03
    assert positions(drawn["t"]).abs().max() < 1.3


def test_sources_without_plain_images_are_refused(source):
    for other in (Traced(source=source), Conditional(source=source, classes=2)):
        with pytest.raises(DataError, match=r"traced: \w+ has no plain images; allowed"):
            Traced(source=other).open()


def test_a_picture_without_lines_is_named_with_its_task(tmp_path):
    def drawn(name, i):
        blank = name == "script2/letter1" and i == 3
        return np.zeros((28, 28), np.uint8) if blank else picture(form(name, i))

    with pytest.raises(DataError, match=r"traced script2/letter1: image 4 of 6 has no lines"):
        Traced(source=archive(tmp_path, drawn)).open()


@pytest.mark.parametrize("wrong", [{"length": 7}, {"length": 257}, {"size": 4}])
def test_settings_that_mean_nothing_are_refused(source, wrong):
    with pytest.raises(ConfigError, match="allowed"):
        Traced(source=source, **wrong)


def test_it_is_asked_for_by_name_and_keeps_its_settings_as_data(source):
    found = parse_source(f"traced:arrays:{source.path}")
    assert found == Traced(source=Arrays(path=source.path))
    assert SOURCES[found.name] is Traced
    assert revive(Traced, to_data(found), "tasks") == found


def test_its_licence_is_that_of_what_is_traced():
    assert licence_of(parse_source("traced:glyphs")) == FONTS
