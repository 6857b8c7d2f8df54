"""Recipes that lead are trained again from other seeds, and `best` tells what luck did."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metasearch.errors import ConfigError
from metasearch.rng import Stream
from metasearch.search.advisors import TPE, RandomSearch
from metasearch.search.config import SearchFile
from metasearch.search.leaders import Leaders
from metasearch.search.racing import Racing
from metasearch.search.repeats import NOTE, Due, Repeats, Run, due
from metasearch.search.run import run_search
from metasearch.search.stopping import Median, Threshold
from tests.search import planted
from tests.search.plans import plan
from tests.search.test_leaders import record
from tests.search.test_objectives import FILE

LUCKY = "tests.search.test_repeats:lucky"
TWICE = Repeats(leaders=2, seeds=2)


def lucky(config, resume, **how):
    """A planted trial whose seed moves its score by up to one, and that is judged on tasks."""
    luck = float(Stream(config.get("seed", 0)).at("luck").numpy().uniform(0.0, 1.0))
    return planted.trial({**config, "x": config["x"] + luck, "tasks": 24}, resume, **how)


def runs(*told):
    return [Run(i, {"x": x}, cost) for i, (x, cost) in enumerate(told)]


def test_the_leader_by_its_mean_that_was_trained_least_often_is_due():
    two = Repeats(leaders=2, seeds=1)
    assert due(runs((1, 5.0), (2, 3.0), (3, 4.0)), two) == Due(1, {"x": 2}, 1)
    assert due(runs((1, 5.0), (2, 3.0), (3, 4.0), (2, 3.5)), two) == Due(2, {"x": 3}, 1)
    assert due(runs((1, 5.0), (2, 3.0), (3, 4.0), (2, 9.0)), two) == Due(2, {"x": 3}, 1)
    assert due(runs((1, 5.0), (2, 3.0), (3, 4.0), (2, None)), two) == Due(2, {"x": 3}, 1)
    assert due(runs((2, 3.0), (3, 4.0), (2, 3.5), (3, None)), two) is None


def test_a_recipe_that_diverges_from_another_seed_leads_no_more():
    one = Repeats(leaders=1, seeds=2)
    assert due(runs((1, 5.0), (2, 3.0), (2, math.inf)), one) == Due(0, {"x": 1}, 1)
    assert due(runs((1, None), (2, math.inf)), one) is None


@pytest.mark.parametrize("sampler", [TPE(startup_trials=4), RandomSearch()])
def test_the_last_trials_of_a_search_repeat_its_leaders_to_the_end(tmp_path, sampler):
    made = plan(trials=14, sampler=sampler, race=Racing(starters=3), repeats=TWICE)
    run = run_search(made, tmp_path / "r", trial=LUCKY).run
    fresh, again = run.trials[:10], run.trials[10:]
    assert {t.outcome.state for t in again} == {"complete"}
    assert "pruned" in {t.outcome.state for t in fresh}, "the others do race"
    assert not any(NOTE in t.notes for t in fresh)
    for one in again:
        first = run.trials[one.notes[NOTE]]
        assert one.info.params == first.info.params and first.outcome.state == "complete"
    groups = {}
    for one in run.trials:
        if one.notes.get(NOTE, one.number) in {t.notes[NOTE] for t in again}:
            groups.setdefault(one.info.params["x"], []).append(one.info.config.get("seed", 0))
    assert all(sorted(seeds) == list(range(len(seeds))) for seeds in groups.values())
    best = min((t for t in fresh if t.outcome.state == "complete"), key=lambda t: t.outcome.score)
    assert again[0].notes[NOTE] == best.number, "the leader comes first"


def test_a_pruner_does_not_stop_what_is_repeated(tmp_path):
    settings = {"trials": 8, "race": None, "pruner": Median(startup_trials=1, warmup=0)}
    some = run_search(plan(**settings), tmp_path / "some", trial=LUCKY).run
    assert [t.outcome.state for t in some.trials[4:]] != ["complete"] * 4, "it is strict"
    made = plan(**settings, repeats=TWICE)
    run = run_search(made, tmp_path / "again", trial=LUCKY).run
    assert [t.outcome.state for t in run.trials[4:]] == ["complete"] * 4


def test_where_nobody_finished_other_recipes_are_tried(tmp_path):
    none = plan(trials=4, race=None, pruner=Threshold(lower=9.0), repeats=Repeats(leaders=1))
    run = run_search(none, tmp_path / "r", trial=LUCKY).run
    assert len({t.info.params["x"] for t in run.trials}) == 4


def test_a_search_that_was_stopped_repeats_what_it_would_have(tmp_path):
    def made(trials):
        return plan(trials=trials, sampler=TPE(startup_trials=3), race=None, repeats=TWICE)

    whole = run_search(made(12), tmp_path / "whole", trial=LUCKY).run
    folder = tmp_path / "again"
    run_search(made(12), folder, trial=LUCKY)
    for lost in range(9, 12):  # as if it had been killed before the repeats
        for path in (folder / "ledger").glob(f"{lost:04d}.*.json"):
            path.unlink()
    run = run_search(made(12), folder, trial=LUCKY).run
    assert [t.info for t in run.trials] == [t.info for t in whole.trials]


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("trials: 11, repeats: {leaders: 3, seeds: 2}", "6 of 11 trials would repeat"),
        ("repeats: {leaders: 0}", "leaders must be at least 1"),
        ("objectives: [cost], repeats: {leaders: 1}", "there is a front"),
    ],
)
def test_repeats_that_make_no_sense_are_refused(search, said):
    with pytest.raises(ConfigError, match=said):
        SearchFile.from_yaml(FILE.format(search))


def repeated(number, recipe, seed, scores):
    one = record(number, scores)
    one.info.params.update(x=recipe)
    one.info.config.update(seed=seed)
    return one


def test_recipes_from_several_seeds_tell_what_luck_does():
    records = [repeated(2, 0.2, 0, [5.0] * 3), repeated(3, 0.2, 0, [5.0] * 3),
               repeated(0, 0.1, 0, [10.0] * 3), repeated(1, 0.1, 1, [14.0] * 3)]  # fmt: skip
    (found,) = Leaders(records, 1.0).repeated
    assert (found.trials, found.mean) == ((0, 1), 12.0)
    assert found.deviation == pytest.approx(8**0.5)
    assert Leaders(records, 1.0).luck == pytest.approx(8**0.5)
    assert Leaders(records[:2], 1.0).luck is None


def test_the_mean_over_seeds_is_pulled_to_the_middle_as_far_as_luck_explains_it():
    """Of equal recipes whose seeds differ, the luckiest's shrunk mean is that of all."""
    off, shrunk = [], []
    for k in range(60):
        rng = Stream(k).at("equal").numpy()
        luck = rng.normal(0, 3, 24)
        tasks = rng.normal(50, 10, 48)
        records = [repeated(i, min(i, 20), max(i - 20, 0), tasks + luck[i] + rng.normal(0, 1, 48))
                   for i in range(24)]  # fmt: skip
        ranked = sorted(records, key=lambda one: one.outcome.score)
        (one,) = Leaders(ranked, 1.0).repeated
        middle = np.median([r.outcome.score for r in ranked])
        off.append(abs(one.mean - middle))
        shrunk.append(abs(one.shrunk - middle))
    assert np.mean(shrunk) < 0.5 * np.mean(off)
