"""The source of pen strokes: traced characters, and the published stroke files."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from metasearch.errors import ConfigError, DataError
from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import SOURCES, Strokes, contact_sheet, summary
from metasearch.tasks.base import SPLITS
from metasearch.tasks.pen import render
from metasearch.tasks.strokes import parse
from metasearch.tasks.ways import alike
from tests.tasks.test_omniglot import REAL, real

FEW = {"shot": 2, "query": 2, "anchor": 1, "size": 16, "length": 12}


@pytest.fixture(scope="module")
def traced():
    return Strokes(size=16).open()


def stroke_file(alphabet, character, drawer):
    """Two strokes of a form of this character's own, a little different for each drawer."""
    form = Stream(0).at(alphabet, character).numpy().integers(5, 100, (2, 4, 2))
    form = form + Stream(0).at(alphabet, character, drawer).numpy().normal(0, 1.5, form.shape)
    lines = ["START"]
    for stroke in form:
        lines += [f"{x:.3f},{-y:.3f},{40 * i}" for i, (x, y) in enumerate(stroke)] + ["BREAK"]
    return "\n".join(lines) + "\n"


def copy(path, alphabets=6, characters=3, drawers=6):
    """A zip as it is published."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/strokes_background/._x.txt", "junk")
        for a in range(alphabets):
            for c in range(1, characters + 1):
                for d in range(1, drawers + 1):
                    name = f"{path.stem}/Alphabet_{a}/character{c:02d}/{c:04d}_{d:02d}.txt"
                    archive.writestr(name, stroke_file(f"Alphabet_{a}", c, d))
    return path


def test_traced_characters_are_those_of_the_glyphs_in_the_same_splits(traced, glyphs):
    for split in SPLITS:
        missing = set(glyphs.tasks(split)) - set(traced.tasks(split))
        assert missing <= set(traced.leaks.dropped) and len(missing) <= 12
        assert set(traced.tasks(split)) <= set(glyphs.tasks(split))
    assert traced.leaks.clean


def test_rows_carry_a_picture_and_the_strokes_that_make_it(traced):
    assert traced.domains == ("x", "t")
    episodes = traced.episodes(traced.tasks("search")[:3], shot=2, query=3, anchor=1, rng=Stream(0))
    for batch, n in ((episodes.support, 6), (episodes.query, 9), (episodes.anchor, 3)):
        assert batch["x"].shape == (n, 1, 16, 16)
        assert batch["t"].shape == (n, 32, 3)
        # As all are written alike: corners are cut, and a ring may be closed by a part of a step.
        assert (batch["x"] - render(batch["t"], 16)).abs().mean() < 0.02
        assert (batch["x"] - render(batch["t"].roll(1, 0), 16)).abs().mean() > 0.04
    stored = traced.images(traced.tasks("search")[0])
    torch.testing.assert_close(stored["x"], render(stored["t"], 16), atol=0.005, rtol=0)


def test_drawings_of_a_traced_character_differ_and_never_run_out(traced):
    task = traced.tasks("search")[0]
    drawn = traced.episodes([task], shot=30, query=30, rng=Stream(0)).support["t"]
    assert len({one.numpy().tobytes() for one in drawn}) == 30


def test_an_episode_depends_on_the_stream_and_the_task_alone(traced):
    names = traced.tasks("train")[:3]
    among = traced.episodes(names, shot=2, query=2, rng=Stream(1)).select([2])
    alone = traced.episodes(names[2:], shot=2, query=9, rng=Stream(1))
    for domain in ("x", "t"):
        assert torch.equal(among.support[domain], alone.support[domain])


def test_without_a_support_drawings_are_written_like_the_first_of_them(traced):
    for task in traced.tasks("train")[:5]:
        drawn = traced.episodes([task], shot=0, query=3, rng=Stream(1))
        among = traced.episodes([task], shot=1, query=2, rng=Stream(1))
        none = traced.episodes([task], shot=0, query=0, rng=Stream(1))
        assert len(drawn.support["t"]) == len(none.query["t"]) == 0
        assert torch.equal(drawn.query["t"], torch.cat([among.support["t"], among.query["t"]]))


def test_strokes_keep_what_tells_characters_apart(traced):
    """One drawing each of 20 characters, and another: the nearest is of the same character."""
    names = traced.tasks("test")[::10][:20]
    episodes = traced.episodes(names, shot=1, query=5, rng=Stream(2))
    for domain, least in (("x", 0.25), ("t", 0.25)):
        known, asked = (b[domain].flatten(1) for b in (episodes.support, episodes.query))
        hits = torch.cdist(asked, known).argmin(1) == torch.arange(20).repeat_interleave(5)
        assert hits.float().mean() > least, domain


def test_the_published_files_are_read_alphabet_by_alphabet(tmp_path):
    path = copy(tmp_path / "strokes_background.zip")
    source = Strokes(path=str(path), **FEW).open()
    assert [len({source.group(t) for t in source.tasks(s)}) for s in SPLITS] == [2, 1, 1, 1, 1]
    assert sum(source.count(t) for s in SPLITS for t in source.tasks(s)) == 108
    told = summary(source)
    assert told["notes"]["corrupt"] == 0 and told["notes"]["passed_over"] == {"hidden": 1}
    assert told["domains"] == ["x", "t"]
    task = source.tasks("train")[0]
    drawn = source.episodes([task], shot=2, query=2, rng=Stream(0)).support
    stored = source.images(task)
    known = {one.numpy().tobytes(): i for i, one in enumerate(stored["x"])}
    index = [known[one.numpy().tobytes()] for one in drawn["x"]]
    assert torch.equal(drawn["t"], alike(stored["t"][index][None], 2)[0])


def test_evaluation_alphabets_are_the_test_split(tmp_path):
    copy(tmp_path / "strokes_background.zip", alphabets=4)
    with zipfile.ZipFile(tmp_path / "strokes_evaluation.zip", "w") as archive:
        for d in range(6):
            name = f"strokes_evaluation/Unseen/character01/0001_{d:02d}.txt"
            archive.writestr(name, stroke_file("Unseen", 1, d))
    source = Strokes(path=str(tmp_path), **FEW).open()
    assert source.tasks("test") == ("Unseen/character01",)


def test_the_copy_in_the_cache_is_the_same(tmp_path):
    path = copy(tmp_path / "strokes_background.zip")
    one, two = (Strokes(path=str(path), **FEW).open() for _ in range(2))
    other = Strokes(path=str(path), **{**FEW, "length": 16}).open()
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert other.images(other.tasks("train")[0])["t"].shape[1:] == (16, 3)


def test_a_stroke_file_gives_paths_with_y_downwards():
    one, two = parse(b"START\n1.5,-2,0\n3,-4,10\nBREAK\n5,-6,20\nBREAK\n")
    np.testing.assert_array_equal(one, [[1.5, 2], [3, 4]])
    np.testing.assert_array_equal(two, [[5, 6]])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no stroke file"),
        (b"START\n", "no stroke file"),
        (b"x,y\n1,2,3\n", "no stroke file"),
        (b"START\n1,2\nBREAK\n", "no point"),
        (b"START\nnan,2,3\nBREAK\n", "no point"),
        (b"START\na,b,c\n", "could not convert"),
        (b"START\nBREAK\n", "no points"),
        (b"\xff\xfe", "can't decode"),
    ],
)
def test_other_files_are_refused(data, what):
    with pytest.raises(ValueError, match=what):
        parse(data)


def test_a_few_damaged_files_are_told_and_many_refused(tmp_path):
    path = copy(tmp_path / "strokes_background.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("strokes_background/Alphabet_0/character01/0001_90.txt", "START\n")
    told = Strokes(path=str(path), **FEW).open().notes
    assert told["corrupt"] == 1 and "0001_90.txt: no stroke file" in told["corrupt_files"][0]
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(10):
            archive.writestr(f"strokes_background/Alphabet_0/character01/0002_{i}.txt", "?")
    with pytest.raises(DataError, match=r"strokes .*: 11 of 119 files hold no strokes.*Copy"):
        Strokes(path=str(path), **FEW).open()


def test_what_is_no_copy_of_strokes_is_refused_with_what_is_wanted(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no strokes; wanted are strokes_background"):
        Strokes(path=str(tmp_path / "empty")).open()
    (tmp_path / "empty" / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"'notes.txt' is not in place; wanted are"):
        Strokes(path=str(tmp_path / "empty")).open()
    with pytest.raises(DataError, match="does not exist"):
        Strokes(path=str(tmp_path / "nowhere")).open()


@pytest.mark.parametrize("wrong", [{"length": 7}, {"length": 257}, {"size": 4}, {"shot": 0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match="allowed"):
        Strokes(**wrong)


def test_a_sheet_shows_strokes_as_pictures(tmp_path):
    path = copy(tmp_path / "strokes_background.zip")
    contact_sheet(Strokes(path=str(path), **FEW).open(), tmp_path / "sheet.png", tasks=1)
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_it_comes_back_from_plain_data():
    source = Strokes(path="a.zip", length=40)
    assert revive(SOURCES, to_data(source), "trial.tasks") == source


@real
def test_the_small_set_of_real_strokes():
    source = Strokes(path=str(REAL / "strokes_background_small1.zip"), size=16).open()
    assert sum(len(source.tasks(s)) for s in SPLITS) >= 130
    assert source.notes["corrupt"] == 0
    assert source.leaks.clean
    strokes = source.images("Greek/character01")["t"]
    assert strokes.shape == (20, 32, 3)
    assert strokes[..., :2].cumsum(1).abs().max() < 0.72
