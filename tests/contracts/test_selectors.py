"""What every rule that chooses does alike, on whatever axis it is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from metasearch.registry import revive, to_data
from metasearch.rng import Stream
from metasearch.selectors import SELECTORS
from metasearch.selectors.base import Arms, Evidence, Exchanger, Feedback

N, K, V, D = 9, 3, 4, 5


def arms(n=N):
    rng = np.random.default_rng(5)
    looks = rng.normal(size=(n, 6))
    return Arms(n, np.arange(n) % 3, looks / np.linalg.norm(looks, axis=1, keepdims=True))


def feedback(choice, step, v=V):
    rng = Stream(1).at("feedback", step).numpy()
    k = len(choice.arms)
    after = rng.normal(10, 3, (k, v))
    return Feedback(
        before=after + rng.random((k, v)),
        after=after,
        excess=after - 8,
        cost=rng.uniform(50, 100, k),
        sketch=rng.normal(size=(k, D)),
        common=rng.normal(size=D),
        payoff=rng.normal(size=(2, N, N)),
    )


def play(rule, steps, *, state=None, start=0, given=feedback):
    state = rule.init(arms()) if state is None else state
    seen = []
    for step in range(start, start + steps):
        rng = Stream(0).at("choose", step).numpy()
        choice, state = rule.choose(state, K, rng, step / 100)
        state = rule.update(state, choice, given(choice, step))
        if isinstance(rule, Exchanger):
            _, state = rule.exchange(state, Stream(0).at("exchange", step).numpy())
        seen.append(choice)
    return seen, state


@pytest.fixture(params=sorted(SELECTORS))
def rule(request):
    return SELECTORS[request.param]()


def test_choices_are_distinct_arms_with_weights_and_chances_that_sum_to_one(rule):
    for choice in play(rule, 60)[0]:
        assert len(set(choice.arms)) == len(choice.arms) == len(choice.weights)
        assert all(0 <= arm < N for arm in choice.arms)
        assert sum(choice.weights) == pytest.approx(1)
        assert choice.probabilities.shape == (N,)
        assert choice.probabilities.sum() == pytest.approx(1)
        assert (choice.probabilities >= 0).all()


def test_saved_and_restored_mid_way_it_goes_on_as_before(rule):
    whole, end = play(rule, 40)
    first, state = play(rule, 17)
    stored = {name: np.array(a) for name, a in state.items()}
    rest, again = play(rule, 23, state=stored, start=17)
    assert [c.arms for c in whole] == [c.arms for c in first + rest]
    for name in end:
        np.testing.assert_array_equal(end[name], again[name])


def test_no_method_changes_a_state_in_place(rule):
    _, state = play(rule, 12)
    before = {name: a.copy() for name, a in state.items()}
    play(rule, 5, state=state, start=12)
    rule.final(state, None, np.random.default_rng(0))
    for name, a in before.items():
        np.testing.assert_array_equal(a, state[name])


def test_the_memory_is_arrays_that_a_checkpoint_can_hold(rule):
    _, state = play(rule, 12)
    assert all(a.dtype in (np.float64, np.int64) for a in state.values())


def test_final_shares_are_on_the_simplex(rule):
    _, state = play(rule, 12)
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(N, 30, 2))
    evidences = [
        None,
        Evidence(rng.normal(size=(N, V))),
        Evidence(rng.normal(size=(N, V)), log_likelihood=rng.normal(-5, 2, (N, 20))),
        Evidence(
            rng.normal(size=(N, V)),
            gram=np.einsum("aid,bjd->ab", draws, draws) / 900 + np.eye(N),
            cross=draws.mean((1, 2)),
        ),
        Evidence(rng.normal(size=(N, V)), loss_of=lambda w: float(w @ np.arange(N))),
    ]
    for evidence in evidences:
        share = rule.final(state, evidence, np.random.default_rng(0))
        assert share.shape == (N,)
        assert share.sum() == pytest.approx(1)
        assert (share >= -1e-12).all()


def test_arms_that_diverge_break_nothing(rule):
    def broken(choice, step):
        found = feedback(choice, step)
        bad = np.where(np.arange(len(choice.arms))[:, None] == step % 3, np.nan, found.after)
        return Feedback(bad, bad, bad, found.cost, np.full_like(found.sketch, np.nan), found.common)

    for choice in play(rule, 40, given=broken)[0]:
        assert np.isfinite(choice.probabilities).all()


def test_one_arm_is_always_chosen(rule):
    state = rule.init(Arms(1, np.zeros(1, int), np.ones((1, 2))))
    choice, _ = rule.choose(state, K, np.random.default_rng(0), 0.5)
    assert choice.arms == (0,)
    assert rule.final(state, None, np.random.default_rng(0)).tolist() == [1.0]


def test_it_comes_back_from_plain_data(rule):
    assert revive(SELECTORS, to_data(rule), "strategy") == rule


UNIFORM = {
    "dro": {"eps": 1.0},
    "plr": {"eps": 1.0},
    "ohtm": {"eps": 1.0},
    "paced": {"eps": 1.0},
    "exp3s": {"eps": 1.0},
    "diverse": {"eps": 1.0},
    "guided": {"eps": 1.0},
    "blend": {"eps": 1.0},
}


@pytest.mark.parametrize("name", UNIFORM)
def test_at_eps_one_it_is_the_random_rule(name):
    rule = SELECTORS[name](**UNIFORM[name])
    seen, _ = play(rule, 3000)
    counts = np.bincount([arm for c in seen for arm in c.arms], minlength=N)
    assert chisquare(counts).pvalue > 1e-3
    for choice in seen[::100]:
        np.testing.assert_allclose(choice.probabilities, 1 / N)
