"""Two runs, or two trials, side by side."""

from __future__ import annotations

import pytest

from metasearch.search.run import run_search
from tests.search.plans import plan
from tests.search.planted import TRIAL

KEYS = {"score", "a", "b", "tasks", "difference", "settled", "better", "remarks"}


def planted(place, name: str, space=None, **search):
    """A run of planted trials that all finish."""
    found = plan(space, name=name, pruner=None, trials=3, **search)
    return run_search(found, place / "runs" / name, trial=TRIAL).run


@pytest.fixture
def two(place):
    low = {"x": {"uniform": [0.0, 0.1]}}
    return planted(place, "low", low), planted(place, "high", {"x": {"uniform": [0.8, 0.9]}})


def test_the_better_run_is_told_and_that_it_is_settled(cli, two):
    told = cli("compare", "low", "high", "--json").json
    assert set(told) == KEYS
    assert (told["settled"], told["better"], told["tasks"]) == (True, "a", 2)
    best = [run.best()[0].outcome.score for run in two]
    assert told["difference"]["mean"] == pytest.approx(best[0] - best[1])
    assert [told[side]["run"] for side in "ab"] == ["low", "high"]
    turned = cli("compare", "high", "low")
    assert f"settled: low {two[0].best()[0].info.name} is better" in turned.out
    assert "looks better than it is" in turned.err


def test_equal_trials_are_not_settled(cli, two):
    told = cli("compare", "low:1", "low:1")
    assert "not settled" in told.out
    assert cli("compare", "low:1", "low:1", "--json").json["better"] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"judging": {"tasks": 9}}, "judging differs"),
        ({"score": {"name": "mmd"}}, "score differs"),
        ({"tasks": 3}, "tasks differs (None and 3)"),
    ],
)
def test_runs_that_were_not_judged_alike_are_refused_with_the_reason(
    cli, two, place, change, reason
):
    planted(place, "other", change)
    told = cli("compare", "low", "other")
    assert (told.code, told.out) == (2, "")
    assert reason in told.err
    assert told.err.count("\n") == 1


def test_runs_on_other_data_are_refused(cli, two, place):
    found = plan(None, name="moved", trials=2)
    data = {"fingerprint": "another"}
    run_search(found, place / "runs" / "moved", trial=TRIAL, data=data)
    told = cli("compare", "low", "moved")
    assert "the data differ" in told.err


def test_another_budget_is_remarked(cli, place):
    for name, gradients in (("short", 100), ("long", 1000)):
        planted(place, name, {"budget": {"gradients": gradients}})
    remarks = cli("compare", "short", "long", "--json").json["remarks"]
    assert any("the budgets differ: 100 and 1,000" in remark for remark in remarks)


def test_a_trial_that_did_not_finish_is_refused_with_those_that_did(cli, two):
    told = cli("compare", "low:9", "high")
    assert told.code == 2
    assert "finished are" in told.err
