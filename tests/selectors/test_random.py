"""The random selector: fair, without repeats, reproducible from any step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from metasearch.rng import Stream
from metasearch.selectors import SELECTORS
from metasearch.selectors.base import Arms
from metasearch.selectors.random import Random

GROUPS = np.repeat([0, 1, 2], [10, 4, 2])


def draws(selector, n, k, groups=GROUPS, state=None, start=0):
    state = selector.init(Arms(len(groups), groups)) if state is None else state
    out = []
    for step in range(start, start + n):
        choice, state = selector.choose(state, k, Stream(0).at("pick", step).numpy())
        out.append(choice)
    return out, state


@pytest.fixture(params=["iid", "epoch", "stratified"])
def selector(request):
    return Random(order=request.param)


def test_the_registry_holds_it():
    assert SELECTORS["random"] is Random


def test_a_draw_has_no_repeats_and_weights_that_sum_to_one(selector):
    for choice in draws(selector, 200, 5)[0]:
        assert len(set(choice.arms)) == 5
        assert sum(choice.weights) == pytest.approx(1)
        assert choice.probabilities.sum() == pytest.approx(1)


def test_asking_for_more_than_there_is_gives_all(selector):
    (choice,), _ = draws(selector, 1, 99)
    assert sorted(choice.arms) == list(range(16))


def test_single_draws_follow_the_stated_probabilities(selector):
    got, _ = draws(selector, 20_000, 1)
    counts = np.bincount([c.arms[0] for c in got], minlength=16)
    expected = got[0].probabilities * 20_000
    assert chisquare(counts, expected).pvalue > 1e-3


def test_groups_come_up_equally_often_when_stratified():
    got, _ = draws(Random(order="stratified"), 6000, 1)
    counts = np.bincount([GROUPS[c.arms[0]] for c in got], minlength=3)
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("k", [1, 3, 5, 7, 16])
def test_an_epoch_shows_every_arm_once_before_any_comes_again(k):
    got, _ = draws(Random(order="epoch"), 64, k)
    flat = [arm for choice in got for arm in choice.arms]
    for start in range(0, len(flat) - 16, 16):
        assert Counter(flat[start : start + 16]).most_common(1)[0][1] == 1


def test_going_on_from_a_saved_state_gives_the_same_sequence(selector):
    whole, _ = draws(selector, 20, 3)
    _, state = draws(selector, 9, 3)
    saved = {k: v.copy() for k, v in state.items()}
    rest, _ = draws(selector, 11, 3, state=saved, start=9)
    assert [c.arms for c in whole[9:]] == [c.arms for c in rest]


def test_choosing_leaves_the_old_state_alone(selector):
    _, state = draws(selector, 3, 5)
    before = {k: v.copy() for k, v in state.items()}
    selector.choose(state, 5, Stream(0).at("other").numpy())
    assert all(np.array_equal(state[k], before[k]) for k in before)
