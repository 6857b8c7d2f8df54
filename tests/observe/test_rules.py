"""What a search says of each rule: as many gradients, and the best that those would have found."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.observe.rules import by_rule, rule_curves, rules_of


def ended(scores, *, axis="tasks", step=1000):
    found = []
    for rule, values in scores.items():
        for value in values:
            n = len(found)
            config = {"strategy": {axis: {"name": rule}, "models": {"name": "random"}}}
            state = "complete" if value is not None else "failed"
            found.append(
                (TrialInfo(n, f"{n:04d}", {}, config), Outcome(state, "", value, step=step))
            )
    return found


def info(draws=()):
    return SearchInfo("s", Path(), 10, None, "nll", "nats", "minimize", list(draws))


def test_the_expected_best_of_a_rule_is_the_mean_over_all_choices_of_its_trials():
    scores = [5.0, 3.0, 9.0, 4.0]
    (dro, random) = by_rule(ended({"random": [1.0, 2.0], "dro": scores}), "minimize")["tasks"]
    assert (dro.rule, random.rule, dro.trials) == ("dro", "random", 4)
    for n in range(1, 5):
        picks = [min(some) for some in combinations(scores, n)]
        assert dro.best[n - 1].mean == pytest.approx(sum(picks) / len(picks))


def test_rules_are_compared_by_what_their_trials_spent():
    pruned = ended({"dro": [5.0, 6.0]}, step=200)
    whole = ended({"random": [4.0, 5.0]}, step=1000)
    spent = {one.rule: one.gradients for one in by_rule([*pruned, *whole], "minimize")["tasks"]}
    assert spent == {"dro": 200, "random": 1000}


def test_an_axis_with_one_rule_or_one_trial_a_rule_is_left_out():
    assert set(by_rule(ended({"random": [1.0, 2.0], "dro": [3.0, 4.0]}), "minimize")) == {"tasks"}
    assert by_rule(ended({"random": [1.0, 2.0], "dro": [3.0]}), "minimize") == {}
    assert by_rule([], "minimize") == {}


def test_a_rule_is_named_alone_or_with_its_settings():
    config = {"strategy": {"segment": 20, "tasks": "epoch", "algorithms": {"name": "race"}}}
    assert rules_of(config) == {"tasks": "epoch", "algorithms": "race"}
    assert rules_of({}) == {}


def test_each_axis_is_drawn_with_its_rules_named():
    drawn = rule_curves(info(), ended({"race": [1.0, 2.0], "relay": [3.0, 4.0]}, axis="algorithms"))
    assert set(drawn) == {"algorithms"}
    about = drawn["algorithms"].about
    assert about == "race, the best of 2: 1.000; relay, the best of 2: 3.000."
