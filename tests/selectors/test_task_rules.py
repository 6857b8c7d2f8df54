"""Rules for tasks: what each is for, and where it degenerates into the random one."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare, wilcoxon

from metasearch.rng import Stream
from metasearch.selectors.base import Arms, Choice, Feedback
from metasearch.selectors.diverse import Diverse
from metasearch.selectors.dpp import draw, marginals
from metasearch.selectors.dro import DRO, on_simplex
from metasearch.selectors.exp3s import Exp3S
from metasearch.selectors.guided import Guided
from metasearch.selectors.ohtm import OHTM
from metasearch.selectors.paced import Paced
from metasearch.selectors.paired import signed_rank
from metasearch.selectors.plr import PLR
from metasearch.selectors.random import Random
from metasearch.selectors.shares import simplex_minimum


def told(losses, *, before=None, cost=1.0, sketch=None):
    x = np.asarray(losses, float)[:, None]
    old = np.full_like(x, np.nan) if before is None else np.asarray(before, float)[:, None]
    return Feedback(old, x, x, np.full(len(x), cost), sketch)


def run(rule, losses_of, steps, *, arms, k=2, seed=0, sketch_of=None):
    """Frozen or moving losses: `losses_of(step)` [n]. How often each arm came, and the state."""
    state, counts = rule.init(arms), np.zeros(arms.n)
    for step in range(steps):
        choice, state = rule.choose(state, k, Stream(seed).at(step).numpy())
        picked = list(choice.arms)
        counts[picked] += 1
        sketch = None if sketch_of is None else sketch_of(step)[picked]
        state = rule.update(state, choice, told(losses_of(step)[picked], sketch=sketch))
    return counts, state


def test_dro_moves_to_the_only_task_that_suffers():
    losses = np.array([0.0] * 9 + [1.0])
    rule, arms = DRO(eta=0.1, level="task"), Arms(10)
    last = []
    state = rule.init(arms)
    for step in range(400):
        choice, state = rule.choose(state, 2, Stream(0).at(step).numpy())
        last.append(choice.probabilities[9])
        state = rule.update(state, choice, told(losses[list(choice.arms)]))
    assert last[-1] > 0.85  # the floor leaves it 0.91 at most
    assert min(np.diff(last)) > -1e-9


def test_dro_finds_the_minimax_point_where_uniform_draws_find_the_mean():
    centres = np.array([0.0, 0.0, 0.0, 1.0])

    def descend(rule):
        state, x, tail = rule.init(Arms(4)), 0.0, []
        for step in range(6000):
            choice, state = rule.choose(state, 2, Stream(3).at(step).numpy())
            picked = list(choice.arms)
            state = rule.update(state, choice, told((x - centres[picked]) ** 2))
            x -= 0.02 * float(np.dot(choice.weights, 2 * (x - centres[picked])))
            tail.append(x)
        return np.mean(tail[3000:])

    assert descend(Random(order="iid")) == pytest.approx(0.25, abs=0.05)
    # Two of four arms are drawn without repeats, so the far one counts for half at most.
    for rule in (DRO(eta=0.05, level="task", eps=0.0), DRO(eta=0.01, eps=0.05, ascent="projected")):
        assert descend(rule) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_the_projection_onto_the_simplex_is_the_nearest_point_of_all_faces(seed):
    point = np.random.default_rng(seed).normal(0, 1, 6)
    nearest = simplex_minimum(np.eye(6), point)  # |w - point|^2 but for what no weight changes
    np.testing.assert_allclose(on_simplex(point), nearest, atol=1e-12)
    inside = np.exp(point) / np.exp(point).sum()
    np.testing.assert_allclose(on_simplex(inside), inside)


def test_a_projected_ascent_takes_to_the_floor_who_does_well():
    losses = np.array([0.0] * 9 + [1.0])
    rule = DRO(eta=0.05, level="task", ascent="projected")
    _, state = run(rule, lambda _: losses, 400, arms=Arms(10))
    chances = rule.choose(state, 1, Stream(0).numpy())[0].probabilities
    assert chances[9] == pytest.approx(0.91)
    np.testing.assert_allclose(chances[:9], 0.01)


def test_dro_over_groups_draws_evenly_within_a_group():
    groups = np.repeat([0, 1], [6, 3])
    losses = np.where(groups == 1, 1.0, 0.0)
    counts, _ = run(DRO(eta=0.1), lambda _: losses, 3000, arms=Arms(9, groups), k=1)
    assert counts[groups == 1].sum() > 0.8 * counts.sum()
    assert chisquare(counts[groups == 1]).pvalue > 1e-3


@pytest.mark.parametrize("rule", [DRO(eta=0.0, level="task"), OHTM(frac=0.0)])
def test_a_step_or_a_share_of_nothing_is_the_random_rule(rule):
    losses = np.arange(6.0)
    counts, _ = run(rule, lambda _: losses, 4000, arms=Arms(6))
    assert chisquare(counts).pvalue > 1e-3


def test_plr_sees_all_tasks_before_any_twice_and_then_the_hardest():
    losses = np.arange(12.0)
    rule = PLR(eps=0.0, rho=0.0, beta=0.5)
    first, state = run(rule, lambda _: losses, 6, arms=Arms(12))
    assert (first == 1).all()
    choice, _ = rule.choose(state, 1, Stream(0).numpy())
    assert (np.argsort(-choice.probabilities) == np.argsort(-losses)).all()


def test_plr_gives_the_stalest_task_more_than_its_share_of_rho():
    rule = PLR(eps=0.0, rho=0.3, beta=0.1)
    _, state = run(rule, lambda _: np.arange(10.0), 30, arms=Arms(10))
    choice, _ = rule.choose(state, 1, Stream(0).numpy())
    stalest = int(np.argmin(state["last"]))
    assert choice.probabilities[stalest] >= rule.rho / 10


def test_plr_without_rank_and_staleness_is_uniform():
    rule = PLR(eps=0.0, rho=0.0, beta=1e9)
    _, state = run(rule, lambda _: np.arange(10.0), 30, arms=Arms(10))
    choice, _ = rule.choose(state, 1, Stream(0).numpy())
    np.testing.assert_allclose(choice.probabilities, 0.1, rtol=1e-6)


def test_ohtm_fills_its_share_of_a_batch_from_the_hardest():
    losses = np.arange(100.0)
    rule = OHTM(buffer=10, frac=0.5, warm_up=200)
    warm, state = run(rule, lambda _: losses, 200, arms=Arms(100), k=4)
    hard = 0
    for step in range(1000):
        choice, state = rule.choose(state, 4, Stream(9).at(step).numpy())
        hard += sum(arm >= 90 for arm in choice.arms)
    assert warm.min() > 0
    assert hard / 4000 == pytest.approx(0.5 + 0.5 * 0.1, abs=0.04)
    assert choice.probabilities[90:].sum() == pytest.approx(0.5 + 0.5 * 0.1)


def test_exp3s_follows_the_best_arm_of_a_drifting_bandit():
    def regret(rule, seed, turns=3000):
        state, lost = rule.init(Arms(3)), 0.0
        for step in range(turns):
            rng = Stream(seed).at("bandit", step).numpy()
            means = np.array([0.2, 0.5, 0.8]) if step < turns / 2 else np.array([0.8, 0.5, 0.2])
            choice, state = rule.choose(state, 1, rng)
            reward = float(rng.random() < means[choice.arms[0]])
            lost += means.max() - means[choice.arms[0]]
            given = told([0.0], before=[reward])
            state = rule.update(state, choice, given)
        return lost

    ours = np.mean([regret(Exp3S(), seed) for seed in range(20)])
    uniform = np.mean([regret(Random(order="iid"), seed) for seed in range(20)])
    assert ours < 0.7 * uniform


def test_importance_weights_estimate_the_uniform_mean():
    rule, values = DRO(eta=0.0, level="task", eps=0.5, reweight="is"), np.arange(8.0)
    state = {**rule.init(Arms(8)), "log_q": np.log(np.linspace(1, 3, 8) / 16)}
    estimates = []
    for step in range(20_000):
        choice, _ = rule.choose(state, 1, Stream(4).at(step).numpy())
        arm = choice.arms[0]
        # One arm: its normalised weight is 1, so the weight itself is checked.
        estimates.append(values[arm] / (8 * choice.probabilities[arm]))
    assert np.mean(estimates) == pytest.approx(values.mean(), rel=0.02)
    choice, _ = rule.choose(state, 4, Stream(5).numpy())
    ratio = np.array(choice.weights) * choice.probabilities[list(choice.arms)]
    np.testing.assert_allclose(ratio, ratio[0])


def kernel(n, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, n))
    return x @ x.T / n + 0.1 * np.eye(n)


def test_process_marginals_are_those_of_enumeration():
    n, k, matrix = 6, 2, kernel(6)
    subsets = list(combinations(range(n), k))
    weights = np.array([np.linalg.det(matrix[np.ix_(s, s)]) for s in subsets])
    exact = np.zeros(n)
    for s, w in zip(subsets, weights / weights.sum(), strict=True):
        exact[list(s)] += w
    np.testing.assert_allclose(marginals(matrix, k), exact, atol=1e-9)
    counts = np.zeros(n)
    for i in range(20_000):
        counts[draw(matrix, k, Stream(1).at(i).numpy())] += 1
    assert np.abs(counts / 20_000 - exact).max() < 0.02


def test_process_draws_pairs_as_often_as_their_determinants():
    n, matrix = 5, kernel(5, seed=3)
    subsets = list(combinations(range(n), 2))
    weights = np.array([np.linalg.det(matrix[np.ix_(s, s)]) for s in subsets])
    seen = dict.fromkeys(subsets, 0)
    for i in range(20_000):
        a, b = sorted(draw(matrix, 2, Stream(2).at(i).numpy()).tolist())
        seen[a, b] += 1
    assert chisquare(list(seen.values()), weights / weights.sum() * 20_000).pvalue > 1e-3


def test_without_looks_and_agreement_teams_are_uniform():
    rule = Diverse(tau=1e9, lam=0.0, eps=0.0)
    looks = np.random.default_rng(0).normal(size=(5, 3))
    state, seen = rule.init(Arms(5, None, looks)), {}
    for step in range(10_000):
        choice, _ = rule.choose(state, 2, Stream(6).at(step).numpy())
        pair = tuple(sorted(choice.arms))
        seen[pair] = seen.get(pair, 0) + 1
    assert len(seen) == 10
    assert chisquare(list(seen.values())).pvalue > 1e-3


def test_a_single_task_is_drawn_by_the_square_of_its_quality():
    rule, cos = Diverse(tau=0.7, eps=0.0), np.array([-0.8, -0.2, 0.1, 0.5, 0.9])
    state = {**rule.init(Arms(5, None, np.eye(5))), "cos": cos}
    counts = np.zeros(5)
    for step in range(8000):
        choice, _ = rule.choose(state, 1, Stream(8).at(step).numpy())
        counts[choice.arms[0]] += 1
    chances = np.exp(cos / (2 * rule.tau)) ** 2
    assert chisquare(counts, 8000 * chances / chances.sum()).pvalue > 1e-3
    np.testing.assert_allclose(choice.probabilities, chances / chances.sum())


def test_two_tasks_that_look_the_same_are_seldom_drawn_together():
    looks = np.eye(6)[[0, 0, 1, 2, 3, 4]]
    rule = Diverse(lam=0.99, eps=0.0)
    state = rule.init(Arms(6, None, looks))
    draws = [set(rule.choose(state, 2, Stream(7).at(i).numpy())[0].arms) for i in range(5000)]
    together = np.mean([d == {0, 1} for d in draws])
    assert together < 0.1 / 15  # a tenth of what uniform pairs give


def test_a_kernel_of_low_rank_still_gives_any_batch_size():
    rule = Diverse(eps=0.0)
    state = rule.init(Arms(12, None, np.ones((12, 1))))
    choice, _ = rule.choose(state, 8, Stream(0).numpy())
    assert len(set(choice.arms)) == 8


def test_paced_leaves_the_spoiled_tasks_out_and_looks_at_them_now_and_then():
    spoiled = np.array([False] * 14 + [True] * 6)

    def losses(step):
        return np.where(spoiled, 240.0, 125.0 - 0.02 * step) + Stream(2).at(step).numpy().normal(
            0, 10, 20
        )

    rule = Paced(keep=0.7, warmup=0.0, eps=0.1)
    counts, _ = run(rule, losses, 1000, arms=Arms(20))
    share = counts[spoiled].sum() / counts.sum()
    assert share == pytest.approx(0.1 * 6 / 20, abs=0.02)  # what the floor gives them
    assert counts[~spoiled].min() > 0.8 * counts[~spoiled].mean()


def test_paced_goes_by_excess_where_it_is_told_to():
    rule = Paced(keep=0.5, warmup=0.0, eps=0.0, by="excess")
    state = rule.init(Arms(4))
    told_all = Feedback(*(np.full((4, 1), np.nan),), np.array([[9.0], [8.0], [1.0], [2.0]]),
                        np.array([[0.0], [1.0], [5.0], [6.0]]), np.ones(4))  # fmt: skip
    state = rule.update(state, Choice((0, 1, 2, 3), (0.25,) * 4, np.full(4, 0.25)), told_all)
    choice, _ = rule.choose(state, 2, np.random.default_rng(0), 1.0)
    assert set(choice.arms) == {0, 1}


def test_paced_shrinks_from_all_tasks_to_the_share_it_keeps():
    rule = Paced(keep=0.5, warmup=0.4, eps=0.0)
    state = {"score": np.arange(10.0), "mean": np.zeros(1)}
    kept = [
        int((rule.choose(state, 2, np.random.default_rng(0), at)[0].probabilities > 0).sum())
        for at in (0.0, 0.2, 0.4, 1.0)
    ]
    assert kept == [10, 8, 5, 5]


@pytest.mark.parametrize("wanted", [1.0, -1.0])
def test_guided_goes_with_the_inner_tasks_and_not_with_the_majority(wanted):
    centres = np.array([1.0] * 8 + [-1.0] * 2)
    rule, aim = Guided(), np.array([-wanted, 0.0])  # a gradient points away from where to go
    state, counts = rule.init(Arms(10)), np.zeros(10)
    for step in range(300):
        choice, state = rule.choose(state, 3, Stream(0).at(step).numpy())
        picked = list(choice.arms)
        counts[picked] += step >= 100
        noise = Stream(0).at("n", step).numpy().normal(size=(3, 2))
        told_of = told(np.zeros(3), sketch=np.stack([-centres[picked], 0 * centres[picked]], 1)
                       + 0.1 * noise)  # fmt: skip
        state = rule.update(state, choice, replace(told_of, common=aim))
    share = counts[centres == wanted].sum() / counts.sum()
    assert share > np.mean(centres == wanted) + 0.15


def test_guided_is_uniform_without_agreement_or_with_no_end_of_heat():
    state = {"cos": np.array([0.9, -0.5, np.nan, 0.1])}
    for rule, memory in ((Guided(tau=1e9, eps=0.0), state), (Guided(), Guided().init(Arms(4)))):
        choice, _ = rule.choose(memory, 1, Stream(0).numpy())
        np.testing.assert_allclose(choice.probabilities, 0.25)


def two_clusters(rule, seed, steps=400):
    """Eight tasks pull a point to +1, two to -1; how often the two are drawn, in the second half."""
    centres, x = np.array([1.0] * 8 + [-1.0] * 2), 0.0
    looks = np.random.default_rng(0).normal(size=(10, 12))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    state, counts = rule.init(Arms(10, None, looks)), np.zeros(10)
    for step in range(steps):
        choice, state = rule.choose(state, 3, Stream(seed).at(step).numpy())
        picked = list(choice.arms)
        if step >= steps // 2:
            counts[picked] += 1
        gradient = x - centres[picked]
        sketch = np.stack([gradient, 0.1 * Stream(seed).at("n", step).numpy().normal(size=3)], 1)
        state = rule.update(state, choice, told(0.5 * gradient**2, sketch=sketch))
        x -= 0.1 * float(np.dot(choice.weights, gradient))
    return counts[8:].sum() / counts.sum()


def test_competitive_and_cooperative_rules_move_conflicting_tasks_in_opposite_directions():
    uniform = 0.2
    hard = [two_clusters(DRO(eta=0.1, level="task"), seed) for seed in range(20)]
    assert min(hard) > uniform
    for rule in (Diverse(), Paced(keep=0.8, warmup=0.0)):
        assert max(two_clusters(rule, seed) for seed in range(20)) < uniform


def test_signed_ranks_are_those_of_wilcoxon():
    rng = np.random.default_rng(1)
    for n in (5, 9, 13):
        d = rng.normal(0.3, 1, n)
        expected = wilcoxon(d, alternative="greater", method="exact").pvalue
        assert signed_rank(d) == pytest.approx(expected)
    d = rng.normal(0.2, 1, 40)
    expected = wilcoxon(d, alternative="greater", method="asymptotic", correction=True).pvalue
    assert signed_rank(d) == pytest.approx(expected, abs=2e-3)
    assert signed_rank(np.zeros(6)) == 1.0
    assert signed_rank(np.array([np.inf] * 6)) == pytest.approx(2**-6)


def test_a_choice_holds_what_was_drawn():
    assert Choice((1,), (1.0,), np.ones(1)).surgery is False
