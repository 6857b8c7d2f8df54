"""The table of families: every recipe is sound on both kinds of tasks, and gets its rows."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from benchmarks import families, recipes
from metasearch.tasks.glyphs import Glyphs
from metasearch.tasks.omniglot import Omniglot
from metasearch.trial.config import problems

FILES = list(recipes.files([]))


@pytest.mark.parametrize("omniglot", [None, "omniglot.npz"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_recipe_is_sound_at_the_size_asked_for(file, omniglot):
    found = list(recipes.recipes(file, 20, omniglot, "strokes.zip"))
    if not found:
        pytest.skip("there are no such tasks of handwriting")
    for _, config in found:
        assert list(problems(config)) == []
        assert config.tasks.size == 20
        source = getattr(config.tasks, "source", config.tasks)
        assert getattr(source, "path", None) in {None, omniglot, "strokes.zip"}


def test_who_writes_is_given_traced_strokes_and_those_of_the_drawers_where_they_are_at_hand():
    def rows(name, *paths):
        found = recipes.recipes(recipes.SPACES / f"{name}.yaml", 20, *paths)
        return {name: config.tasks for name, config in found}

    letters = rows("rgan-strokes", None, None)
    assert {name: s.name for name, s in letters.items()} == {"rgan-strokes": "strokes"}
    assert rows("rgan-strokes", "x.npz", "s.zip") == rows("omniglot-rgan", None, None) == {}
    both = rows("omniglot-rgan", "x.npz", "s.zip")
    assert list(both) == ["omniglot-rgan", "omniglot-rgan-written"]
    pictures, written = both.values()
    assert pictures.name == "traced" and pictures.source == Omniglot(path="x.npz")
    assert written.name == "strokes" and written.path == "s.zip"
    assert (pictures.size, pictures.length) == (written.size, written.length) == (20, 24)
    assert list(rows("omniglot-rgan", "x.npz", None)) == ["omniglot-rgan"]


def test_what_reads_handwriting_is_given_glyphs_and_the_other_way_round():
    settings = {"size": 28, "shot": 3}
    theirs = recipes.elsewhere({"name": "omniglot", "path": "x.npz", **settings}, 16, None, None)
    ours = recipes.elsewhere({"name": "glyphs", **settings}, 16, "x.npz", None)
    assert theirs == {"name": "glyphs", "size": 16, "shot": 3}
    assert ours == {"name": "omniglot", "path": "x.npz", "size": 16, "shot": 3}
    wrapped = recipes.elsewhere({"name": "conditional", "source": dict(theirs)}, 20, "x", None)
    assert wrapped["source"]["name"] == "omniglot"
    assert recipes.elsewhere({"name": "pairs"}, 20, "x.npz", "s.zip") is None


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("omniglot-vae", ["omniglot-vae"]), ("classical", ["classical", "classical-kernel"])],
)
def test_a_family_is_trained_judged_on_both_tracks_and_set_beside_floors(
    name, kinds, tmp_path, monkeypatch, capsys
):
    file = recipes.SPACES / f"{name}.yaml"
    monkeypatch.setattr(families, "TRACKS", (families.SCORES["mmd"](), families.SCORES["nll"]()))
    told = [str(file), "--seconds", "0.5", "--size", "16", "--out", str(tmp_path)]
    for _ in range(2):  # the second run adds to what the first one kept
        monkeypatch.setattr(sys, "argv", ["families", *told])
        families.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {name}")]
    assert [line.split(" | ")[1] for line in rows[:2]] == ["mmd", "nll"]
    assert {line.split(" | ")[0] for line in rows} == {f"| {row}" for row in kinds}
    kept = json.loads((tmp_path / "glyphs-search.json").read_text())
    for kind in kinds:
        assert [kept[kind][score]["track"] for score in ("mmd", "nll")] == [False, True]
        assert kept[kind]["mmd"]["floors"]["real images"] < 5
        nats = kept[kind]["nll"]
        floors = {"Beta-Bernoulli pixels", "kernel density", "pixel marginal"}
        assert set(nats["floors"]) == floors == set(nats["beside"])
        assert nats["best_floor"] == min(floors, key=lambda one: nats["floors"][one])
        assert nats["ahead"] == nats["beside"][nats["best_floor"]] and not nats["copying"]
        assert nats["ahead"][0] == pytest.approx(
            nats["after"][0] - nats["floors"][nats["best_floor"]]
        )
        # Copies count as no floor, but stand beside samples, with the test that finds them out.
        samples = kept[kind]["mmd"]
        assert samples["best_floor"] in floors
        assert {"copies of the support", "jittered copies"} < set(samples["beside"])
        assert samples["copying"]["copies of the support"] < -3
        assert {"before", "after"} < set(samples["copying"])
    assert (tmp_path / "glyphs-search.png").read_bytes().startswith(b"\x89PNG")


def test_strokes_without_pictures_of_handwriting_are_refused(tmp_path, monkeypatch, capsys):
    told = ["families", "--strokes", "s.zip", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", told)
    monkeypatch.setattr(families, "files", lambda _: ())  # whoever goes on is done at once
    with pytest.raises(SystemExit, match="2"):
        families.main()
    assert "give --omniglot PATH as well" in capsys.readouterr().err


def test_the_source_of_a_recipe_is_one_of_the_two():
    kinds = {type(recipes.recipe(f, 20, "x.npz", None).tasks) for f in FILES if f.stem == "aae"}
    assert kinds == {Omniglot}
    assert isinstance(recipes.recipe(recipes.SPACES / "aae.yaml", 20, None, None).tasks, Glyphs)


def test_a_sheet_takes_recipes_that_show_fewer_images_than_others():
    def grid(shot):
        pictures = (np.zeros((2, n, 20, 20, 1), np.uint8) for n in (shot, 8, 8))
        return families.SampleGrid(("a/b", "a/c"), *pictures)

    assert families.sheet({"one": grid(5), "two": grid(4)}).startswith(b"\x89PNG")


def test_a_sheet_leaves_out_the_pairs_of_a_translator():
    def grid(height):
        pictures = (np.zeros((2, n, height, 20, 1), np.uint8) for n in (5, 6, 6))
        return families.SampleGrid(("a/b", "a/c"), *pictures)

    one, pairs = grid(20), grid(40)
    assert families.sheet({"one": one, "pairs": pairs}) == families.sheet({"one": one})
    assert families.sheet({"pairs": pairs}).startswith(b"\x89PNG")


def test_translations_are_compared_with_the_truth_and_with_doing_nothing():
    file = recipes.SPACES / "cyclegan.yaml"
    ((_, config),) = recipes.recipes(file, 16, None, None)
    assert config.score.name in {score.name for score in families.TRACKS}
    told = {"track": True, "copying": {}, "diverged": 0, "meta_steps": 7}
    still = {"mean": 6.0, "per_task": {"b": 7.0, "a": 5.0}}
    after = np.array([4.0, 4.0])
    row = families.Row.of(after + 1, after, {"input as it is": still}, ("a", "b"), **told)
    assert (row.best_floor, row.ahead[0], row.gained[0]) == ("input as it is", -2.0, -1.0)
    columns = families.HEAD.splitlines()[1].count("|")
    assert row.line("cyclegan", "paired").count("|") == columns


def test_copies_stand_beside_samples_and_are_no_floor():
    tasks, after = ("a", "b"), np.array([4.0, 6.0])
    flat = {
        name: {"mean": value, "per_task": dict.fromkeys(tasks, value)}
        for name, value in (("Beta-Bernoulli pixels", 9.0), ("jittered copies", 3.0))
    }
    told = {"track": True, "copying": {"after": -0.25}, "diverged": 0, "meta_steps": 7}
    row = families.Row.of(after, after, flat, tasks, **told)
    assert row.best_floor == "Beta-Bernoulli pixels" and row.ahead[0] == -4.0
    assert row.beside["jittered copies"][0] == 2.0
    assert row.line("vae", "mmd").split(" | ")[-3].startswith("2.0 [")
    assert row.line("vae", "mmd").split(" | ")[-2] == "-0.2"
