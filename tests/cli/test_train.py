"""One recipe, trained without a search."""

from __future__ import annotations

import pytest

from metasearch import space
from metasearch.search.ledger import open_run
from metasearch.search.recipe import read_recipe
from tests.small import blobs_file, trial


@pytest.fixture
def recipe(place):
    path = place / "recipe.yaml"
    path.write_text(space.dump(trial(blobs_file(place / "blobs.npz"))))
    return path


def test_a_recipe_becomes_a_run_and_a_bundle_and_the_bundle_is_a_recipe_again(cli, recipe, place):
    told = cli("train", recipe, "-o", "mine", "--json")
    assert told.code == 0
    assert (told.json["trials"]["complete"], told.json["bundle"]) == (1, "mine")
    run = open_run(place / "runs" / "recipe")
    assert run.trials[0].info.config["seed"] == 0

    again = read_recipe(place / "mine", ["trial.seed=3"])
    assert again.search.name == "mine-again"
    assert again.config({}).seed == 3
    same = read_recipe(run.trials[0].folder)
    assert dict(same.space) == dict(read_recipe(place / "mine").space)

    twice = cli("train", recipe, "-o", "mine")
    assert twice.code == 2
    assert "exists already" in twice.err


def test_what_is_left_to_draw_is_told_with_its_place(cli, recipe):
    text = recipe.read_text().replace("seed: 0", "seed: 0")
    recipe.write_text(text.replace("lr: 0.01", "lr: {uniform: [0.01, 0.02]}"))
    told = cli("train", recipe)
    assert told.code == 2
    assert "trial.outer.lr: is drawn" in told.err
    assert f"{recipe}:" in told.err
    fixed = read_recipe(recipe, ["trial.outer.lr=0.01"])
    assert fixed.config({}).outer.lr == 0.01


def test_a_fault_of_a_resolved_recipe_has_its_line(cli, recipe):
    recipe.write_text(recipe.read_text().replace("hidden:", "hiden:"))
    told = cli("train", recipe)
    line = next(i for i, t in enumerate(recipe.read_text().splitlines(), 1) if "hiden" in t)
    assert told.err.startswith(f"{recipe}:{line}:")
    assert "Did you mean 'hidden'?" in told.err
