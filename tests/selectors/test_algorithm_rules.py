"""Rules for algorithms: bandit, race, blend, relay."""

from __future__ import annotations

import numpy as np
import pytest

from metasearch.rng import Stream
from metasearch.selectors.base import Arms, Evidence, Feedback
from metasearch.selectors.blend import Blend
from metasearch.selectors.exp3s import Exp3S
from metasearch.selectors.race import Race
from metasearch.selectors.random import Random
from metasearch.selectors.relay import Relay


def gain(reward, *, cost=1.0):
    zero = np.zeros((1, 1))
    return Feedback(zero + reward, zero, zero, np.array([cost]))


def pulls(reward_of, turns, *, seed=0, rule=None, cost_of=lambda _: 1.0, arms=3):
    rule = rule or Exp3S()
    state, seen = rule.init(Arms(arms)), []
    for step in range(turns):
        rng = Stream(seed).at(step).numpy()
        choice, state = rule.choose(state, 1, rng)
        arm = choice.arms[0]
        seen.append(arm)
        state = rule.update(state, choice, gain(reward_of(step, arm, rng), cost=cost_of(arm)))
    return np.array(seen)


def bernoulli(chances):
    return lambda _, arm, rng: float(rng.random() < chances[arm])


@pytest.mark.parametrize("seed", range(3))
def test_the_bandit_pulls_the_best_arm_most(seed):
    seen = pulls(bernoulli([0.3, 0.5, 0.8]), 3000, seed=seed)
    assert (seen == 2).mean() > 0.7


@pytest.mark.parametrize("seed", range(3))
def test_the_bandit_recovers_when_the_best_arm_changes(seed):
    def reward(step, arm, rng):
        chances = [0.1, 0.1, 0.9] if step < 1000 else [0.9, 0.1, 0.1]
        return float(rng.random() < chances[arm])

    seen = pulls(reward, 1600, seed=seed)
    assert (seen[800:1000] == 2).mean() > 0.7
    assert (seen[1300:] == 0).mean() > 0.6


def test_equal_rewards_keep_the_bandit_near_uniform():
    seen = pulls(lambda *_: 1.0, 3000)
    assert np.bincount(seen, minlength=3).min() > 700


def test_of_two_arms_that_gain_alike_the_cheaper_is_preferred():
    seen = pulls(lambda *_: 1.0, 2000, cost_of=lambda arm: 3.0 if arm else 1.0, arms=2)
    assert (seen == 0).mean() > 0.7


def after(losses, *, sketch=None, common=None):
    x = np.asarray(losses, float)
    return Feedback(x, x, x, np.ones(len(x)), sketch, common)


def test_a_race_drops_the_arm_that_is_worse_task_by_task_and_never_the_last():
    rule = Race()
    state = rule.init(Arms(3))
    base = np.random.default_rng(0).normal(10, 5, 8)
    choice, state = rule.choose(state, 3, np.random.default_rng(0))
    assert choice.arms == (0, 1, 2)
    state = rule.update(state, choice, after([base + 1, base, base + np.tile([0.5, -0.5], 4)]))
    assert state["running"].tolist() == [0, 1, 1]  # +1 on all eight; the third is undecided
    for _ in range(3):
        choice, state = rule.choose(state, 3, np.random.default_rng(0))
        state = rule.update(state, choice, after([base + 1, base][: len(choice.arms)]))
    assert state["running"].sum() == 1


def test_a_race_stands_for_the_best_that_still_runs():
    rule = Race()
    state = {**rule.init(Arms(3)), "running": np.array([0, 1, 1])}
    losses = np.array([[0.0], [2.0], [1.0]])
    share = rule.final(state, Evidence(losses), np.random.default_rng(0))
    assert share.tolist() == [0, 0, 1]


def directions(*rows):
    return np.array(rows, float)


def test_an_arm_that_points_backwards_loses_its_weight():
    rule = Blend()
    state = rule.init(Arms(3))
    for step in range(100):
        choice, state = rule.choose(state, 3, np.random.default_rng(step))
        sketch = directions([1, 0.2], [1, -0.2], [-1, 0])
        state = rule.update(state, choice, after(np.zeros((3, 2)), sketch=sketch,
                                                 common=np.array([1.0, 0.0])))  # fmt: skip
        assert sum(choice.weights) == pytest.approx(1)
    assert choice.weights[2] < 0.05
    assert choice.weights[0] == pytest.approx(choice.weights[1])


def test_a_blend_without_steps_stays_uniform_and_random_draws_are_its_estimate():
    rule, gradients = Blend(eta=0.0), np.random.default_rng(0).normal(size=(3, 4))
    state = rule.init(Arms(3))
    choice, state = rule.choose(state, 3, np.random.default_rng(0))
    state = rule.update(state, choice, after(np.zeros((3, 2)), sketch=gradients,
                                             common=gradients[0]))  # fmt: skip
    choice, _ = rule.choose(state, 3, np.random.default_rng(0))
    blended = np.array(choice.weights) @ gradients
    one, total = Random(order="iid"), np.zeros(4)
    memory = one.init(Arms(3))
    for step in range(10_000):
        drawn, memory = one.choose(memory, 1, Stream(1).at(step).numpy())
        total += gradients[drawn.arms[0]]
    np.testing.assert_allclose(total / 10_000, blended, atol=0.02 * np.abs(gradients).max())


def test_a_relay_hands_over_in_order_at_its_breaks():
    rule = Relay(breaks=(0.2, 0.7))
    state, seen = rule.init(Arms(3)), []
    for progress in (0.0, 0.19, 0.2, 0.5, 0.7, 1.0):
        choice, state = rule.choose(state, 1, np.random.default_rng(0), progress)
        seen.append(choice.arms[0])
    assert seen == [0, 0, 1, 1, 2, 2]
    assert rule.final(state, None, np.random.default_rng(0)).tolist() == [0, 0, 1]


def test_a_relay_without_breaks_gives_equal_stretches():
    rule = Relay()
    state = rule.init(Arms(4))
    assert state["breaks"].tolist() == [0.25, 0.5, 0.75]


def test_breaks_must_suit_the_arms():
    with pytest.raises(ValueError, match="3 arms take 2 breaks"):
        Relay(breaks=(0.5,)).init(Arms(3))
    with pytest.raises(ValueError, match="ascending"):
        Relay(breaks=(0.5, 0.2))
