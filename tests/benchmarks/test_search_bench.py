"""Replays of searches: what is counted is what was recorded, and the same seed plays the same."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.search.desk import ours
from benchmarks.search.record import GRIDS, recipes
from benchmarks.search.replay import Moment, Played, Recorded, Stock, play, reached
from metasearch.search.advisors import RandomSearch
from metasearch.search.stopping import NoPruner


@pytest.fixture(scope="module", params=GRIDS)
def data(request):
    return Recorded.load(request.param)


def random(data, seed, **search):
    return ours(data, seed, sampler=RandomSearch(), pruner=NoPruner(), **search)


def test_every_recipe_of_the_grid_was_recorded(data):
    _, all_recipes = recipes(data.grid)
    assert len(data.search) == len(data.confirm) == len(all_recipes) == len(data.numbers)
    assert np.isfinite(data.search).all() and np.isfinite(data.confirm).all()
    assert (data.cpu_s > data.rungs * data.judging_s).mean() > 0.9, "judging is part of it"


def test_without_stops_every_trial_costs_what_it_was_recorded_to(data):
    one = random(data, 3, trials=12, race=None)
    assert (one.asked, one.whole, one.judged) == (12, 12, 1.0)
    assert one.seconds == pytest.approx(one.moments[-1].seconds)
    costs = np.maximum(data.cpu_s, data.rungs * data.judging_s)
    assert 12 * costs.min() < one.seconds < 12 * costs.max()


def test_the_same_seed_plays_the_same_and_a_race_judges_less(data):
    one, two = (random(data, 1, trials=15) for _ in range(2))
    assert one == two
    free = random(data, 1, trials=15, race=None)
    assert one.judged < free.judged and one.whole < free.whole
    assert data.search[one.winner, -1].mean() >= data.search[free.winner, -1].mean()


def test_a_search_ends_when_its_compute_is_spent(data):
    dearest = max(data.seconds(i) for i in range(len(data.search))) * data.rungs
    for played in (random(data, 1, seconds=30.0), play(Stock(data, 1), data, seconds=30.0)):
        assert 30.0 <= played.seconds <= 30.0 + 2 * dearest


def test_a_score_is_reached_when_it_is_held_for_good(data):
    order = np.argsort(data.confirmed)
    good, bad = int(order[0]), int(order[-1])
    played = Played(
        [Moment(1.0, good), Moment(2.0, bad), Moment(3.0, good), Moment(4.0, good)], 1, 4, 4.0, 4
    )
    assert reached(played, data, data.confirmed[good]) == 3.0
    assert reached(played, data, data.confirmed[good] - 1) == np.inf
    assert reached(played, data, data.confirmed[bad]) == 1.0
