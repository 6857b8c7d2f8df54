"""Harder worlds: what is done to train tasks, and that unseen ones stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metasearch.errors import ConfigError, DataError
from metasearch.registry import Schema, revive, to_data
from metasearch.rng import Stream
from metasearch.tasks import (
    SOURCES,
    Arrays,
    Conditional,
    Pairs,
    Regime,
    Strokes,
    parse_source,
    summary,
)
from metasearch.tasks.base import SPLITS
from metasearch.tasks.derived import MIXED, Transformed
from metasearch.tasks.pen import render
from metasearch.tasks.regimes import REGIMES, Clean, Imbalanced, Noisy, Scarce, Shift
from metasearch.tasks.wrapping import ruler_of
from tests.tasks.drawings import drawings

COUNTS = {"shot": 3, "query": 2, "anchor": 1}
UNEVEN = {f"script{g}": n for g, n in enumerate([8, 8, 8, 4, 2, 3, 3, 3, 3])}


def source_of(folder, names, **settings):
    images, labels = drawings(names)
    groups = np.array([name.split("/")[0] for name in np.unique(names)])
    split = np.array(_splits(groups))
    np.savez(folder / "x.npz", images=images, labels=labels, groups=groups, split=split)
    return Arrays(path=str(folder / "x.npz"), size=24, leaks="keep", **(COUNTS | settings))


def _splits(groups):
    unseen = dict(zip(list(UNEVEN)[5:], SPLITS[1:], strict=True))
    return [unseen.get(g, "train") for g in groups]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    names = [f"{g}/letter{c}" for g, n in UNEVEN.items() for c in range(n)]
    return source_of(tmp_path_factory.mktemp("plain"), names)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    names = [f"{g}/other{c}" for g, n in UNEVEN.items() for c in range(n)]
    names[names.index("script8/other0")] = "script0/letter0"
    names.remove("script0/other0")
    return source_of(tmp_path_factory.mktemp("elsewhere"), names)


@pytest.fixture(scope="module")
def clean(plain):
    return Regime(source=plain, kind=Clean()).open()


@pytest.fixture(params=[name for name in REGIMES if name != "shift"])
def regime(request, plain):
    return Regime(source=plain, kind=REGIMES[request.param]()).open()


def episodes(source, split, **settings):
    counts = {"shot": 3, "query": 2, "anchor": 1} | settings
    return source.episodes(source.tasks(split), rng=Stream(0).at("e"), **counts)


def same(a, b):
    pairs = ((a.support, b.support), (a.query, b.query), (a.anchor, b.anchor))
    return all(torch.equal(x[d], y[d]) for x, y in pairs for d in x)


def test_unseen_tasks_stay_as_they_are(regime, clean):
    for split in SPLITS[1:]:
        assert regime.tasks(split) == clean.tasks(split)
        assert same(episodes(regime, split), episodes(clean, split))


def test_a_regime_is_a_function_of_its_seed(regime, plain):
    kind = regime.settings.kind
    again, other = (Regime(source=plain, kind=kind, seed=s).open() for s in (0, 1))
    assert again.tasks("train") == regime.tasks("train")
    assert same(episodes(again, "train"), episodes(regime, "train"))
    assert again.fingerprint == regime.fingerprint != other.fingerprint


def test_fingerprints_tell_regimes_apart(plain, clean):
    every = {
        Regime(source=plain, kind=REGIMES[n]()).open().fingerprint for n in REGIMES if n != "shift"
    }
    assert len(every) == len(REGIMES) - 1 and clean.fingerprint in every


def test_train_tasks_are_some_of_those_below(regime, clean):
    assert set(regime.tasks("train")) <= set(clean.tasks("train"))
    assert all(regime.group(t) == clean.group(t) for t in regime.tasks("train"))


def test_scores_are_taken_with_the_features_of_the_clean_source(regime):
    assert ruler_of(regime) is regime.below


def test_clean_changes_nothing(clean):
    assert same(episodes(clean, "train"), episodes(clean.below, "train"))


def test_a_share_of_the_train_tasks_is_noisy_half_in_each_way(plain):
    noisy = Regime(source=plain, kind=Noisy(share=0.6, mixed=0.5)).open()
    kinds = [noisy.noise_of(task) for task in noisy.tasks("train")]
    assert len(kinds) == 30
    assert {k: kinds.count(k) for k in set(kinds)} == {"none": 12, "mixed": 9, "pixels": 9}
    assert all(noisy.noise_of(t) == "none" for s in SPLITS[1:] for t in noisy.tasks(s))
    assert noisy.notes["noisy_train_tasks"] == {"mixed": 9, "pixels": 9}


def test_noise_is_where_it_is_said_to_be_and_nowhere_else(plain, clean):
    noisy = Regime(source=plain, kind=Noisy(pixels=0.5)).open()
    mine, theirs = episodes(noisy, "train"), episodes(clean, "train")
    for i, task in enumerate(mine.tasks):
        a, b = mine.select([i]), theirs.select([i])
        kind = noisy.noise_of(task)
        assert same(a, b) is (kind == "none")
        if kind == "pixels":
            changed = (a.support["x"] != b.support["x"]).float().mean()
            assert 0.35 < changed < 0.65
            assert a.support["x"].abs().max() <= 1


def test_a_mixed_task_shows_images_of_other_train_tasks_in_turn(plain, clean):
    noisy = Regime(source=plain, kind=Noisy(mixed=1.0)).open()
    owner = {
        x.numpy().tobytes(): task for task in clean.tasks("train") for x in clean.images(task)["x"]
    }
    found = episodes(noisy, "train", shot=4, query=2, anchor=0)
    mixed = [i for i, task in enumerate(found.tasks) if noisy.noise_of(task) == "mixed"]
    for i in mixed:
        own = found.select([i])
        of = [owner[x.numpy().tobytes()] for x in torch.cat([own.support["x"], own.query["x"]])]
        assert found.tasks[i] not in of
        assert len(set(of[:4])) == min(4, MIXED)


def test_noise_of_a_task_does_not_depend_on_its_company_and_is_new_in_each_episode(plain):
    noisy = Regime(source=plain, kind=Noisy(share=1.0)).open()
    whole = episodes(noisy, "train")
    for i in (0, 7):
        alone = noisy.episodes(whole.tasks[i : i + 1], rng=Stream(0).at("e"), **COUNTS)
        assert same(alone, whole.select([i]))
    other = noisy.episodes(whole.tasks, rng=Stream(0).at("later"), **COUNTS)
    assert not any(same(whole.select([i]), other.select([i])) for i in range(len(whole.tasks)))


def test_scarce_leaves_a_few_whole_groups(plain, clean):
    scarce = Regime(source=plain, kind=Scarce(groups=2)).open()
    left = {scarce.group(t) for t in scarce.tasks("train")}
    assert len(left) == 2 and scarce.notes["train_groups"] == sorted(left)
    assert set(scarce.tasks("train")) == {t for t in clean.tasks("train") if clean.group(t) in left}
    with pytest.raises(DataError, match="5 train groups, of which 5 are to be left"):
        Regime(source=plain, kind=Scarce(groups=5)).open()


def test_groups_are_imbalanced_as_zipf_says(plain):
    found = Regime(source=plain, kind=Imbalanced(exponent=1.0)).open()
    assert found.notes["train_tasks_by_group"] == {
        "script0": 8, "script1": 4, "script2": 3, "script3": 2, "script4": 2
    }  # fmt: skip
    assert len(found.tasks("train")) == 19
    even = Regime(source=plain, kind=Imbalanced(exponent=0.0)).open()
    assert len(even.tasks("train")) == 30


def test_imbalanced_needs_groups_of_several_tasks(tmp_path):
    images, labels = drawings([f"c{i}" for i in range(8)])
    np.savez(tmp_path / "x.npz", images=images, labels=labels)
    single = Arrays(path=str(tmp_path / "x.npz"), size=24, **COUNTS)
    with pytest.raises(DataError, match="every train group is one task"):
        Regime(source=single, kind=Imbalanced()).open()


def test_shift_trains_on_one_source_and_judges_on_another(plain, elsewhere, clean):
    shifted = Regime(source=plain, kind=Shift(to=elsewhere)).open()
    other = elsewhere.open()
    for split in ("train", "inner"):
        assert shifted.tasks(split) == clean.tasks(split)
        assert same(episodes(shifted, split), episodes(clean, split))
    for split in ("search", "confirm"):
        assert shifted.tasks(split) == other.tasks(split)
        assert same(episodes(shifted, split), episodes(other, split))
    assert ruler_of(shifted) is shifted._other
    some = [shifted.tasks("train")[0], shifted.tasks("test")[0]]
    both = shifted.episodes(some, rng=Stream(0), **COUNTS)
    assert same(both.select([1]), shifted.episodes(some[1:], rng=Stream(0), **COUNTS))


def test_shift_leaves_out_unseen_tasks_that_are_train_tasks_too(tmp_path, plain):
    names = [f"{g}/other{c}" for g, n in UNEVEN.items() for c in range(n)]
    twin = source_of(tmp_path, names).open()
    assert "script8/other0" in twin.tasks("test")
    images, labels = drawings(names)
    stolen = drawings(["script0/letter0"])[0]
    images[labels == "script8/other0"] = stolen
    groups = np.array([name.split("/")[0] for name in np.unique(names)])
    np.savez(tmp_path / "x.npz", images=images, labels=labels, groups=groups,
             split=np.array(_splits(groups)))  # fmt: skip
    to = Arrays(path=str(tmp_path / "x.npz"), size=24, leaks="keep", **COUNTS)
    shifted = Regime(source=plain, kind=Shift(to=to)).open()
    assert shifted.leaks.dropped == ("script8/other0",)
    assert "script8/other0" not in shifted.tasks("test") and shifted.tasks("test")


def test_shift_to_itself_is_refused_because_names_are_those_of_train(plain, tmp_path):
    names = [f"{g}/letter{c}" for g, n in UNEVEN.items() for c in range(n)]
    images, labels = drawings(names)
    groups = np.array([name.split("/")[0] for name in np.unique(names)])
    split = np.array(
        ["test" if s == "train" else "train" if s == "test" else s for s in _splits(groups)]
    )
    np.savez(tmp_path / "x.npz", images=images, labels=labels, groups=groups, split=split)
    to = Arrays(path=str(tmp_path / "x.npz"), size=24, leaks="keep", **COUNTS)
    with pytest.raises(DataError, match="all tasks of split test resemble train tasks"):
        Regime(source=plain, kind=Shift(to=to)).open()


@pytest.mark.parametrize("how", ["rotated", "mirrored", "inverted", "blurred"])
def test_unseen_tasks_may_be_transformed(plain, clean, how):
    shifted = Regime(source=plain, kind=Shift(transform=how)).open()
    assert same(episodes(shifted, "train"), episodes(clean, "train"))
    mine, theirs = (episodes(s, "search").support["x"] for s in (shifted, clean))
    want = {
        "rotated": theirs.rot90(1, (2, 3)),
        "mirrored": theirs.flip(3),
        "inverted": -theirs,
        "blurred": mine,
    }[how]
    assert torch.equal(mine, want) and not torch.equal(mine, theirs)
    assert isinstance(ruler_of(shifted), Transformed)
    if how == "blurred":
        middle = theirs[0, 0, 9:12, 9:12].mean()
        torch.testing.assert_close(mine[0, 0, 10, 10], middle)


@pytest.mark.parametrize("how", ["rotated", "mirrored"])
def test_pens_draw_what_is_shown_where_it_is_transformed(how):
    shifted = Regime(source=Strokes(size=20, shot=3, query=2), kind=Shift(transform=how)).open()
    turn = {"rotated": lambda x: x.rot90(1, (2, 3)), "mirrored": lambda x: x.flip(3)}[how]
    task = shifted.tasks("search")[:1]
    mine, theirs = (
        source.episodes(task, shot=3, query=2, rng=Stream(0)).support
        for source in (shifted, shifted.below)
    )
    drawn = render(mine["t"], 20)
    torch.testing.assert_close(drawn, turn(render(theirs["t"], 20)), rtol=0, atol=1e-4)
    assert (drawn - render(theirs["t"], 20)).abs().max() > 0.5
    assert torch.equal(mine["x"], turn(theirs["x"]))


def test_noise_in_pictures_is_noise_in_what_a_pen_learns_from():
    strokes = Strokes(size=20, shot=3, query=2)
    noisy = Regime(source=strokes, kind=Noisy(share=1.0, mixed=0.0, pixels=0.5)).open()
    task = noisy.tasks("train")[:1]
    mine, theirs = (
        source.episodes(task, shot=3, query=2, rng=Stream(0)).support["t"]
        for source in (noisy, noisy.below)
    )
    assert 0.35 < (mine[..., :2] != theirs[..., :2]).float().mean() < 0.65
    assert set(mine[..., 2].unique().tolist()) == {-1.0, 1.0}


def test_no_pen_draws_what_is_blurred():
    with pytest.raises(DataError, match=r"no pen draws what is blurred. Set transform to rotated"):
        Regime(source=Strokes(size=20), kind=Shift(transform="blurred")).open()


def test_what_belongs_together_in_pairs_does_so_under_a_regime():
    noisy = Regime(source=Pairs(size=16, shot=4, query=2), kind=Noisy(share=0.5)).open()
    for opened in (noisy, Transformed(noisy.below, noisy.settings, "mirrored")):
        for split in ("train", "search"):
            drawn = opened.episodes(opened.tasks(split), shot=4, query=2, rng=Stream(0))
            assert drawn.paired and drawn.query["a"].shape == drawn.query["b"].shape


def test_shift_needs_a_place_to_go_and_equal_shapes(plain, elsewhere):
    with pytest.raises(ValueError, match="needs another source"):
        Shift()
    small = Arrays(path=elsewhere.path, size=16, leaks="keep", **COUNTS)
    with pytest.raises(DataError, match="both must be equal"):
        Regime(source=plain, kind=Shift(to=small)).open()
    fewer = Arrays(path=elsewhere.path, size=24, **(COUNTS | {"shot": 2}))
    with pytest.raises(ConfigError, match="shot, query, anchor"):
        Regime(source=plain, kind=Shift(to=fewer))


def test_regimes_and_labels_may_be_laid_over_each_other(plain):
    noisy = Regime(source=Conditional(source=plain, classes=2))
    assert (noisy.shot, noisy.classes, noisy.size) == (6, 2, 24)
    opened = noisy.open()
    found = opened.episodes(opened.tasks("train")[:4], shot=6, query=4, rng=Stream(0))
    assert found.support["y"].shape == (24,) and opened.domains == ("x", "y")
    assert ruler_of(opened) is opened.below.below
    other = Conditional(source=Regime(source=plain, kind=Scarce()), classes=2).open()
    assert {other.below.group(m) for t in other.tasks("train") for m in other.members(t)} == set(
        other.below.notes["train_groups"]
    )


def test_it_is_read_from_a_file(plain):
    data = {"name": "regime", "source": to_data(plain), "kind": "scarce"}
    made = Schema(Regime).build(data)
    assert made.kind == Scarce() and revive(SOURCES, to_data(made), "tasks") == made
    shift = Schema(Regime).build({**data, "kind": {"name": "shift", "to": to_data(plain)}})
    assert shift.kind.to == plain
    with pytest.raises(ConfigError, match="no regime is called 'noisi'"):
        Schema(Regime).build({**data, "kind": "noisi"})


def test_a_person_can_look_at_it(regime):
    told = summary(regime)
    assert told["splits"]["train"]["tasks"] == len(regime.tasks("train"))
    assert parse_source("noisy:glyphs:16").kind == Noisy()
    assert parse_source("imbalanced:conditional:glyphs").source.classes == 3
