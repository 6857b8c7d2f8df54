"""Recipes as points: places, of which many make one recipe, and coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from metasearch import space
from metasearch.rng import Stream
from metasearch.search.cube import Cube

TREE = {
    "m": {"choice": [
        {"name": "a", "k": {"log_uniform": [1e-4, 1.0]}, "n": {"choice": [4, 8, 16]},
         "s": {"choice": ["x", "y", {"name": "z", "deep": {"integers": [1, 3]}}]}},
        {"name": "b", "k": {"uniform": [-1.0, 1.0]}},
    ]},
    "w": {"choice": ["left", "right"]},
    "i": {"integers": [1, 5]},
    "l": {"log_integers": [1, 100]},
    "c": {"choice": [0.3, 0.1]},
}  # fmt: skip


@pytest.fixture
def cube():
    return Cube(space.draws(TREE))


def test_coordinates_are_those_of_the_recipe_at_a_place(cube):
    """The fast way over all places at once, against the recipes one by one."""
    places = Stream(0).at("places").numpy().random((300, len(cube.draws)))
    recipes = [space.point_at(TREE, cube.named(place)) for place in places]
    found = cube.coordinates(places)
    np.testing.assert_allclose(found, cube.coordinates(cube.places(recipes)), atol=1e-12)
    alike = {}
    for recipe, row in zip(recipes, found, strict=True):
        alike.setdefault(tuple(recipe.items()), set()).add(tuple(row.round(9)))
    assert all(len(rows) == 1 for rows in alike.values())
    assert len({row for rows in alike.values() for row in rows}) == len(alike)


def test_options_that_are_numbers_in_order_are_a_scale_and_words_are_not(cube):
    words = {draw.path for draw, word in zip(cube.draws, cube.words, strict=True) if word}
    assert words == {"m", "m.a.s", "w"}


def test_what_is_not_drawn_is_an_option_of_its_own_or_the_middle(cube):
    params = {"m": "b", "m.b.k": 1.0, "w": "left", "i": 1, "l": 1, "c": 0.3}
    row = dict(zip([d.path for d in cube.draws], cube.coordinates(cube.places([params]))[0], strict=True))  # fmt: skip
    assert (row["m.a.k"], row["m.a.n"], row["m.a.s.z.deep"]) == (0.5, 0.5, 0.5)
    assert row["m.a.s"] < 0
    assert row["m.b.k"] == pytest.approx(1.0)
    assert (row["w"], row["c"]) == (0.0, 0.0)


def test_near_means_that_most_draws_stay_and_numbers_move_a_little(cube):
    rng = Stream(0).at("near").numpy()
    base = rng.random((2, len(cube.draws)))
    moved = cube.near(base, 0.02, 50, rng)
    assert moved.shape == (100, len(cube.draws))
    assert ((moved >= 0) & (moved < 1)).all()
    gaps = np.abs(moved - np.repeat(base, 50, axis=0))
    assert 0.05 < (gaps > 0).mean() < 0.5
    numbers = [i for i, draw in enumerate(cube.draws) if draw.kind != "choice"]
    assert gaps[:, numbers].max() < 0.15


def test_no_recipe_has_no_place(cube):
    assert cube.places([]).shape == (0, len(cube.draws))
    assert cube.coordinates(cube.places([])).shape == (0, len(cube.draws))
