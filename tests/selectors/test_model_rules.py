"""Rules for models: who is kept, who is copied, and how an ensemble is weighed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from metasearch.rng import Stream
from metasearch.selectors.base import Arms, Evidence, Exchange, Feedback
from metasearch.selectors.elastic import Elastic
from metasearch.selectors.greedy import Greedy
from metasearch.selectors.gxd import GxD
from metasearch.selectors.halving import Halving
from metasearch.selectors.mixture import Mixture
from metasearch.selectors.mutual import Mutual
from metasearch.selectors.random import Random
from metasearch.selectors.shares import (
    discrepancy,
    mixture_nll,
    mixture_weights,
    simplex_minimum,
)
from metasearch.selectors.soup import Soup
from metasearch.selectors.tournament import Tournament

RNG = np.random.default_rng


def told(losses, *, cost=100.0, payoff=None):
    x = np.asarray(losses, float).reshape(1, -1)
    return Feedback(x, x, x, np.array([cost]), payoff=payoff)


def play(rule, quality, turns, *, noise=0.0, seed=0, v=8):
    """Members of known quality, measured on `v` tasks with noise; the state and who played."""
    state, seen = rule.init(Arms(len(quality), np.zeros(len(quality), int))), []
    for step in range(turns):
        rng = Stream(seed).at(step).numpy()
        choice, state = rule.choose(state, 1, rng)
        arm = choice.arms[0]
        seen.append(arm)
        state = rule.update(state, choice, told(quality[arm] + noise * rng.normal(size=v)))
    return state, seen


def test_halving_without_noise_keeps_the_best():
    quality = np.array([3.0, 1.0, 4.0, 2.0])
    state, _ = play(Halving(first=2, eta=2, guard=1.0), quality, 40)
    assert state["playing"].tolist() == [0, 1, 0, 0]
    assert Halving().final(state, None, RNG(0)).tolist() == [0, 1, 0, 0]


def test_halving_spends_what_its_rungs_say():
    quality = np.arange(9.0)
    _, seen = play(Halving(first=2, eta=3, guard=1.0), quality, 9 * 2 + 3 * 4 + 5)
    counts = np.bincount(seen, minlength=9)
    # Nine play two segments, three play four more up to the rung of six, one goes on alone.
    assert counts.tolist() == [6 + 5, 6, 6, 2, 2, 2, 2, 2, 2]


def test_halving_with_a_rate_of_one_drops_nobody():
    _, seen = play(Halving(first=1, eta=1), np.arange(4.0), 40)
    assert np.bincount(seen).tolist() == [10, 10, 10, 10]


def test_the_guard_keeps_whoever_is_not_clearly_worse():
    rng = RNG(3)
    noisy = [rng.normal(0, 1, 8) for _ in range(4)]
    rule = Halving(first=1, eta=4, guard=0.2)
    state = rule.init(Arms(4))
    for step in range(4):
        choice, state = rule.choose(state, 1, RNG(step))
        arm = choice.arms[0]
        state = rule.update(state, choice, told(noisy[arm] + (50 if arm == 3 else 0)))
    assert state["playing"][3] == 0
    assert state["playing"].sum() > 1


def test_under_noise_the_best_survives_as_often_as_simulated_means_say():
    quality, noise, runs = np.array([0.0, 0.5, 1.0]), 2.0, 300
    kept = 0
    for seed in range(runs):
        state, _ = play(Halving(first=1, eta=3, guard=1.0), quality, 3, noise=noise, seed=seed)
        kept += state["playing"][0]
    rng = RNG(0)
    draws = quality + noise / np.sqrt(8) * rng.normal(size=(20_000, 3))
    bound = (draws.argmin(1) == 0).mean()
    assert kept / runs == pytest.approx(bound, abs=4 * np.sqrt(bound * (1 - bound) / runs))


def test_among_equals_noise_alone_decides_who_survives():
    survivors = np.zeros(3)
    for seed in range(300):
        state, _ = play(Halving(first=1, eta=3, guard=1.0), np.zeros(3), 3, noise=1.0, seed=seed)
        survivors += state["playing"]
    assert survivors.sum() == 300
    assert chisquare(survivors).pvalue > 1e-3


def test_a_tournament_copies_winners_over_losers_and_keeps_the_elite():
    quality = np.array([3.0, 1.0, 4.0, 2.0])
    rule = Tournament(rounds=1)
    for seed in range(10):
        state, _ = play(rule, quality, 4, seed=seed)
        found, state = rule.exchange(state, RNG(seed))
        assert len(found.copies) == 2
        for loser, winner, player in found.copies:
            assert quality[winner] < quality[loser]
            assert player == ""
        assert 1 not in [loser for loser, _, _ in found.copies]
        assert set(found.rates) == {loser for loser, _, _ in found.copies}
        assert all(r in (1.2, 1 / 1.2) for r in found.rates.values())
        again, _ = rule.exchange(state, RNG(seed))
        assert not again.copies


ROCK_PAPER_SCISSORS = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]], float)


def meet(rule, payoff, n=3):
    state = rule.init(Arms(n))
    for step in range(rule.rounds * n):
        choice, state = rule.choose(state, 1, RNG(step))
        state = rule.update(state, choice, told(np.zeros(4), payoff=payoff))
    return rule.exchange(state, RNG(0))[0]


@pytest.mark.parametrize("fitness", ["mean", "worst"])
def test_in_rock_paper_scissors_nobody_is_eliminated(fitness):
    found = meet(GxD(fitness=fitness), np.stack([ROCK_PAPER_SCISSORS, -ROCK_PAPER_SCISSORS]))
    assert found.copies == ()


@pytest.mark.parametrize("fitness", ["mean", "worst"])
def test_with_a_transitive_payoff_the_dominant_pair_survives(fitness):
    first, second = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 0.0])
    payoff = np.stack([first[:, None] - second, second[None, :] - first[:, None]])
    found = meet(GxD(fitness=fitness), payoff)
    assert found.copies == ((0, 1, "first"), (1, 2, "second"))


def test_a_mixture_is_no_worse_than_its_best_member_and_em_never_falls_back():
    rng = RNG(0)
    nats = rng.normal(-100, 8, (4, 60))
    weights = mixture_weights(nats)
    assert mixture_nll(nats, weights) <= min(-nats.mean(1)) + 1e-9
    last, w = np.inf, np.full(4, 0.25)
    for _ in range(30):
        w = mixture_weights(nats, start=w, steps=1)
        now = mixture_nll(nats, w)
        assert now <= last + 1e-10
        last = now


def test_two_halves_of_a_distribution_are_mixed_half_and_half():
    rng = RNG(1)
    which = rng.random(4000) < 0.5
    nats = np.stack([np.where(which, -1.0, -60.0), np.where(which, -60.0, -1.0)])
    np.testing.assert_allclose(mixture_weights(nats), [which.mean(), 1 - which.mean()], atol=1e-6)


def kernels(seed, n=3):
    rng = RNG(seed)
    x = rng.normal(size=(n, 5)) + rng.normal(size=5)
    real = rng.normal(size=5)
    return x @ x.T / 5 + 0.05 * np.eye(n), x @ real / 5


@pytest.mark.parametrize("seed", range(8))
def test_the_programme_finds_what_a_grid_finds(seed):
    gram, cross = kernels(seed)
    found = simplex_minimum(gram, cross)
    grid = np.linspace(0, 1, 101)
    best = min(
        discrepancy(gram, cross, np.array([a, b, 1 - a - b]))
        for a in grid
        for b in grid
        if a + b <= 1 + 1e-12
    )
    assert discrepancy(gram, cross, found) <= best + 1e-9
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)


def test_two_generators_of_half_the_modes_get_half_each():
    gram, cross = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.5, 0.5])
    np.testing.assert_allclose(simplex_minimum(gram, cross), [0.5, 0.5])


def test_a_greedy_ensemble_holds_few_picks_and_beats_the_best_member():
    nats = RNG(2).normal(-100, 8, (5, 80))
    rule = Greedy(size=4)
    share = rule.final(rule.init(Arms(5)), Evidence(-nats, log_likelihood=nats), RNG(0))
    picks = share * np.round(1 / share[share > 0].min())
    np.testing.assert_allclose(picks, np.round(picks), atol=1e-9)
    assert mixture_nll(nats, share) <= min(-nats.mean(1)) + 1e-9


def test_a_soup_is_never_worse_than_its_best_member_where_it_was_chosen():
    rng = RNG(4)
    for _ in range(20):
        points = rng.normal(size=(4, 3))

        def loss_of(w, points=points):
            return float(np.square(w @ points).sum())

        losses = np.array([[loss_of(w)] for w in np.eye(4)])
        rule = Soup()
        share = rule.final(rule.init(Arms(4)), Evidence(losses, loss_of=loss_of), RNG(0))
        assert loss_of(share) <= losses.min() + 1e-12


def test_elastic_members_meet_once_all_had_a_turn():
    rule = Elastic(rho=0.3)
    state, pulls = rule.init(Arms(3)), []
    for step in range(6):
        choice, state = rule.choose(state, 1, RNG(step))
        state = rule.update(state, choice, told(np.zeros(4)))
        found, state = rule.exchange(state, RNG(step))
        pulls.append(found.pull)
    assert pulls == [0, 0, 0.3, 0, 0, 0.3]


def test_elastic_members_that_are_not_pulled_are_independent():
    rule = Elastic(rho=0.0)
    state = rule.init(Arms(2))
    for step in range(4):
        choice, state = rule.choose(state, 1, RNG(step))
        state = rule.update(state, choice, told(np.zeros(4)))
        assert rule.exchange(state, RNG(step))[0] == Exchange()


def test_random_members_have_equal_turns():
    _, seen = play(Random(), np.zeros(3), 300)
    assert np.bincount(seen).tolist() == [100, 100, 100]


def test_a_mixture_weighs_by_what_is_known():
    rule, n = Mixture(), 3
    state = rule.init(Arms(n))
    losses = np.array([[3.0], [1.0], [2.0]])
    assert rule.final(state, None, RNG(0)).tolist() == [1 / 3] * 3
    assert rule.final(state, Evidence(losses), RNG(0)).tolist() == [0, 1, 0]


def test_of_models_that_learn_from_each_other_the_best_goes_out():
    rule = Mutual()
    state, seen = play(rule, np.array([3.0, 1.0, 2.0]), 9)
    assert np.bincount(seen).tolist() == [3, 3, 3]
    assert rule.final(state, None, RNG(0)).tolist() == [0, 1, 0]
    assert rule.final(state, Evidence(np.array([[1.0], [2.0], [3.0]])), RNG(0)).tolist() == [
        1,
        0,
        0,
    ]


def test_models_are_never_driven_apart():
    with pytest.raises(ValueError, match="kappa"):
        Mutual(kappa=-0.1)


def test_a_random_member_has_the_mean_score_in_expectation():
    quality, rule = np.array([1.0, 2.0, 6.0]), Random(order="iid")
    state = rule.init(Arms(3))
    scores = [rule.final(state, None, Stream(i).numpy()) @ quality for i in range(4000)]
    assert np.mean(scores) == pytest.approx(3.0, rel=0.03)
