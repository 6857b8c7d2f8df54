"""Recipes as points of a cube, and lists of all recipes."""

from __future__ import annotations

import pytest

from metasearch import space

TREE = {
    "lr": {"log_uniform": [1e-4, 1e-2]},
    "share": {"uniform": [0.0, 2.0]},
    "steps": {"integers": [1, 4]},
    "width": {"log_integers": [8, 128]},
    "model": {"choice": [
        {"name": "vae", "beta": {"uniform": [0.0, 1.0]}},
        {"name": "gan", "loss": {"choice": ["hinge", None, 2]}},
    ]},
}  # fmt: skip
PATHS = [draw.path for draw in space.draws(TREE)]


def at(**places):
    return space.point_at(TREE, {**dict.fromkeys(PATHS, 0.0), **places})


def test_the_corners_of_the_cube_are_the_bounds():
    low, high = at(), space.point_at(TREE, dict.fromkeys(PATHS, 1 - 1e-12))
    assert low == {"lr": pytest.approx(1e-4), "share": 0.0, "steps": 1, "width": 8, "model": "vae",
                   "model.vae.beta": 0.0}  # fmt: skip
    assert high == {"lr": pytest.approx(1e-2), "share": pytest.approx(2.0), "steps": 4,
                    "width": 128, "model": "gan", "model.gan.loss": 2}  # fmt: skip


def test_scales_are_even_and_cells_are_equal():
    assert at(lr=0.5)["lr"] == pytest.approx(1e-3) and at(share=0.5)["share"] == 1.0
    assert [at(steps=u)["steps"] for u in (0.24, 0.26, 0.74, 0.76)] == [1, 2, 3, 4]
    assert [at(model=u)["model"] for u in (0.49, 0.51)] == ["vae", "gan"]


def test_a_value_goes_to_a_place_that_gives_it_back():
    for draw in space.draws(TREE):
        for u in (0.01, 0.3, 0.62, 0.99):
            places = {**dict.fromkeys(PATHS, 0.0), **{path: 0.51 for path, _ in draw.only_if}}
            if "vae" in draw.path:
                places["model"] = 0.0
            value = space.point_at(TREE, {**places, draw.path: u})[draw.path]
            back = space.place_of(draw, value)
            again = space.point_at(TREE, {**places, draw.path: back})[draw.path]
            assert again == (pytest.approx(value) if isinstance(value, float) else value)


def test_all_recipes_are_listed_once_with_what_their_branches_hold():
    tree = {"a": {"integers": [1, 2]}, "b": {"log_integers": [3, 5]}}
    tree["m"] = {"choice": [{"name": "vae"}, TREE["model"]["choice"][1], 7]}
    found = list(space.recipes(tree))
    assert len(found) == space.size(tree).configurations == 2 * 3 * (1 + 3 + 1)
    assert len({repr(sorted(params.items(), key=str)) for params in found}) == len(found)
    for params in found:
        assert ("m.gan.loss" in params) == (params["m"] == "gan")
        space.resolve(tree, params)


def test_a_tree_without_draws_has_one_recipe():
    assert list(space.recipes({"a": 1})) == [{}]
