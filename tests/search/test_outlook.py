"""What trials are expected to come to, and where a Gaussian process looks next."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metasearch import space
from metasearch.observe.base import Outcome
from metasearch.rng import Stream
from metasearch.search.advice import Advice
from metasearch.search.advisors import GP
from metasearch.search.gaussian import Belief
from metasearch.search.outlook import Outlook, Seen, expected_ends, on_a_scale
from metasearch.search.stopping import NoPruner
from metasearch.search.study import Study

NESTED = {
    "m": {"choice": [
        {"name": "a", "k": {"log_uniform": [1e-4, 1.0]}, "n": {"choice": [4, 8, 16]}},
        {"name": "b", "k": {"log_uniform": [1e-4, 1.0]}},
    ]},
    "w": {"choice": ["left", "right"]},
    "i": {"integers": [1, 5]},
}  # fmt: skip


def test_who_was_stopped_is_expected_to_gain_what_the_middle_one_gained():
    done = [Seen({}, curve, whole=True) for curve in ((10.0, 9.0, 8.0), (20.0, 12.0, 10.0), (10.0, 9.0, 9.0))]  # fmt: skip
    told = expected_ends([*done, Seen({}, [30.0]), Seen({}, [30.0, 18.0])])
    assert told == [8.0, 10.0, 9.0, pytest.approx(24.0), pytest.approx(16.0)]
    assert expected_ends([Seen({}, [-1.0, -1.5], whole=True), Seen({}, [-2.0])]) == [-1.5, -3.0]


def test_who_was_lost_comes_to_the_worst_and_of_who_said_nothing_nothing_is_known():
    trials = [Seen({}, [1.0, math.nan], lost=True), Seen({}, [], lost=True), Seen({}, []),
              Seen({}, [3.0, 1.0], whole=True, lost=True), Seen({}, [2.0])]  # fmt: skip
    assert expected_ends(trials) == [math.inf, math.inf, None, math.inf, 2.0]


def test_what_is_good_is_in_proportion_and_what_is_bad_is_alike():
    values = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 900.0, math.inf])
    scores = on_a_scale(values)
    assert (abs(scores.mean()), scores.std()) == (pytest.approx(0.0, abs=1e-9), pytest.approx(1.0))
    assert scores[2] - scores[1] == pytest.approx(scores[1] - scores[0])
    assert scores[5] == scores[6] > scores[4]
    np.testing.assert_allclose(on_a_scale(3.0 * values - 7.0), scores)
    far = np.where(values == 900.0, 1e12, values)
    np.testing.assert_allclose(on_a_scale(far), scores)


@pytest.mark.parametrize(
    "ends", [[2.0], [2.0, 2.0], [math.inf], [1.0, math.inf], [1.0, 1.0, 1.0, 5.0]]
)
def test_the_scale_is_finite_whatever_trials_came_to(ends):
    assert np.isfinite(on_a_scale(ends)).all()


def anywhere(count, name="anywhere"):
    rng = Stream(0).at(name).numpy()
    paths = [draw.path for draw in space.draws(NESTED)]
    return [space.point_at(NESTED, {path: rng.random() for path in paths}) for _ in range(count)]


def test_what_is_looked_for_next_is_a_recipe_of_the_space():
    trials = [Seen(params, [float(i % 4)]) for i, params in enumerate(anywhere(6))]
    for i in range(3):
        params = Outlook(NESTED, 0).next(trials, [trials[0].params], Stream(i))
        assert space.used(NESTED, params) == params
        trials.append(Seen(params, [float(i)]))


def test_who_runs_is_kept_away_from_and_who_was_tried_is_not_asked_again():
    tree = {"n": {"integers": [1, 6]}, "m": {"integers": [1, 6]}}
    seen = [
        Seen({"n": n, "m": m}, [abs(n - 3.0) + abs(m - 4.0)]) for n in (1, 3, 6) for m in (1, 6)
    ]
    first = Outlook(tree, 0).next(seen, [], Stream(0))
    assert Outlook(tree, 0).next(seen, [first], Stream(0)) != first
    assert Outlook(tree, 0).next([*seen, Seen(first, [])], [], Stream(0)) != first
    every = [{"n": n, "m": m} for n in range(1, 7) for m in range(1, 7)]
    assert Outlook(tree, 0).next(seen, every, Stream(0)) is None
    assert Outlook(tree, 0).next([Seen(first, [])], [], Stream(0)) is None


def test_where_many_are_known_the_best_and_the_latest_are_told(monkeypatch):
    asked = []
    monkeypatch.setattr("metasearch.search.outlook.TOLD", 6)
    monkeypatch.setattr(
        "metasearch.search.outlook.Belief",
        lambda kernel, places, scores: asked.append(len(scores)) or Belief(kernel, places, scores),
    )
    seen = [Seen(params, [float(i)]) for i, params in enumerate(anywhere(20))]
    params = Outlook(NESTED, 0).next(seen, [], Stream(0))
    told = Outlook(NESTED, 0).next([*seen[:3], *seen[17:]], [], Stream(0))
    assert asked == [6, 6]
    assert params == told


def cost(params):
    """Branch `a` at 0.01 with 4 is best; the other branch is worse whatever it draws."""
    if params["m"] == "b":
        return 3.0
    return abs(math.log10(params["m.a.k"]) + 2) + abs(math.log2(params["m.a.n"]) - 2)


def test_it_finds_the_good_branch_and_the_place_in_it_sooner_than_chance():
    found, chance = [], []
    for seed in range(3):
        some = anywhere(18, f"chance {seed}")
        trials = [Seen(params, [cost(params)]) for params in some[:7]]
        for i in range(11):
            params = Outlook(NESTED, seed).next(trials, [], Stream(seed).at(i))
            trials.append(Seen(params, [cost(params)]))
        found.append(min(trial.costs[0] for trial in trials))
        chance.append(min(map(cost, some)))
    assert np.mean(found) < 0.5 * np.mean(chance)


def test_who_was_stopped_early_teaches_the_process(tmp_path):
    """All are stopped at their first report; Optuna's own process would learn from none of them."""
    tree = {"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}}
    advice = Advice("s", "minimize", 0, GP(startup_trials=4), NoPruner(), reports=4)
    study = Study(tmp_path / "journal", tree, advice)
    values = []
    for _ in range(14):
        asked = study.ask()
        value = sum((v - 0.3) ** 2 for v in asked.params.values())
        study.report(asked.number, 100, value)
        study.tell(asked.number, "x", Outcome("pruned", "race", score=value, step=100))
        values.append(value)
    study.close()
    assert np.median(values[-6:]) < 0.2 * np.median(values[:4])


def test_where_trials_fail_is_not_asked_again_and_again(tmp_path):
    """It would be best there, if any recipe there could be trained."""
    tree = {"x": {"uniform": [0.0, 1.0]}, "y": {"uniform": [0.0, 1.0]}}
    advice = Advice("s", "minimize", 0, GP(startup_trials=4), NoPruner(), reports=1)
    study, failed = Study(tmp_path / "journal", tree, advice), []
    for _ in range(16):
        asked = study.ask()
        failed.append(asked.params["x"] < 0.3)
        value = asked.params["x"] + (asked.params["y"] - 0.5) ** 2
        outcome = Outcome("complete", "finished", score=value, step=100)
        if failed[-1]:
            outcome = Outcome("failed", "user")
        else:
            study.report(asked.number, 100, value)
        study.tell(asked.number, "x", outcome)
    study.close()
    assert sum(failed[4:]) < 6


def test_that_all_failed_is_no_fault(tmp_path):
    tree = {"x": {"uniform": [0.0, 1.0]}}
    advice = Advice("s", "minimize", 0, GP(startup_trials=2), NoPruner(), reports=1)
    study, values = Study(tmp_path / "journal", tree, advice), []
    for _ in range(6):
        values.append((asked := study.ask()).params["x"])
        study.tell(asked.number, "x", Outcome("failed", "user"))
    study.close()
    assert len(set(values)) == 6
