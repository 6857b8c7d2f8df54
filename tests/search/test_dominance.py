"""Pruning where several objectives count."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from metasearch.errors import ConfigError
from metasearch.observe.base import Bound
from metasearch.rng import Stream
from metasearch.search.advice import Advice
from metasearch.search.advisors import Auto, RandomSearch
from metasearch.search.config import SearchFile
from metasearch.search.dominance import Reached
from metasearch.search.front import front, undominated
from metasearch.search.plan import Plan
from metasearch.search.run import run_search
from metasearch.search.stopping import Dominated, Median, NoPruner
from tests.search import test_objectives
from tests.search.test_objectives import FILE, made

TRIAL = "tests.search.test_dominance:trial"
BOUND = Bound("copying", at_least=-3.0, at_most=None)
ADVICE = Advice(
    "s", "minimize", 0, RandomSearch(), Dominated(), 4, also=(("variety", "maximize"),),
    bounds=(BOUND,),
)  # fmt: skip


def trial(config, resume, **how):
    """As there, and some recipes are dearer than their score would have them."""
    for report in test_objectives.trial(config, resume, **how):
        told = dict(report.scalars)
        told["score/cost"] += config["dear"]
        yield replace(report, scalars=told)


def reached(rows, settings=None, report=2):
    found = Reached(settings or Dominated(share=0.5, startup_trials=2), ADVICE)
    for number, (score, variety, *copying) in enumerate(rows):
        told = {"score/variety": variety, "score/copying": copying[0] if copying else 0.0}
        found.reported(number, report, score, told)
    return found


def beaten(found, score, variety, report=2):
    return found.beaten(99, report, score, {"score/variety": variety})


def test_a_trial_is_beaten_by_who_is_as_good_everywhere_and_better_somewhere():
    found = reached([(1.0, 5.0), (2.0, 6.0), (9.0, 1.0), (9.0, 9.0)])
    assert not beaten(found, 1.0, 5.0), "alike is not beaten; 2.0 is worse"
    assert not beaten(found, 1.5, 5.0), "by one of four alone"
    told = beaten(found, 2.0, 5.0)
    assert told == "worse in all of score, variety than 0000, 0001 of 4"
    assert not beaten(found, 0.5, 0.0), "the best in one objective is beaten by nobody"


def test_who_breaks_a_bound_diverged_or_told_no_objective_beats_nobody():
    found = reached([(1.0, 5.0, -9.0), (math.nan, 5.0), (1.0, math.nan), (1.0, 5.0), (1.0, 6.0)])
    assert beaten(found, 2.0, 1.0).endswith("than 0003, 0004 of 2")
    assert not beaten(found, 2.0, math.nan), "who tells no objective cannot be compared"


def test_few_and_early_reports_are_spared():
    found = reached([(1.0, 5.0), (1.0, 6.0)], Dominated(startup_trials=3))
    assert not beaten(found, 2.0, 1.0)
    found = reached([(1.0, 5.0), (1.0, 6.0)], Dominated(startup_trials=2, warmup=2))
    assert not beaten(found, 2.0, 1.0)
    assert not beaten(reached([(1.0, 5.0)] * 3, report=3), 2.0, 1.0), "at another report"


def test_verdicts_are_those_of_counting_one_by_one():
    rng = Stream(0).at("dominance").numpy()
    rows = rng.normal(size=(60, 2)).round(1)
    settings = Dominated(share=0.2, startup_trials=5)
    found = reached([tuple(row) for row in rows], settings)
    stopped = 0
    for i, (score, variety) in enumerate(rows):
        by = sum(
            a <= score and b >= variety and (a < score or b > variety)
            for k, (a, b) in enumerate(rows) if k != i
        )  # fmt: skip
        told = found.beaten(i, 2, score, {"score/variety": variety})
        assert bool(told) == (by >= 0.2 * 59)
        stopped += bool(told)
    assert 0 < stopped < 60


def searched(folder, pruner, trials=40):
    search = made(space={"dear": {"uniform": [0.0, 1.0]}}, trials=trials, constraints=(),
                  pruner=pruner, sampler=RandomSearch())  # fmt: skip
    return run_search(search, folder, trial=TRIAL).run


def costs(run):
    return {t.number: (t.outcome.score, t.last.scalars["score/cost"]) for t in run.trials}


def test_a_search_keeps_its_front_and_spends_less(tmp_path):
    whole = searched(tmp_path / "whole", NoPruner())
    some = searched(tmp_path / "some", Dominated())
    median = searched(tmp_path / "median", Median(startup_trials=2))
    values = costs(whole)
    numbers = list(values)
    best = {numbers[i] for i in undominated(np.array(list(values.values())))}
    kept = {peak.record.number for peak in front(some)}
    assert best == kept and best > {peak.record.number for peak in front(median)}
    stopped = [t for t in some.trials if t.outcome.state == "pruned"]
    assert stopped and {t.outcome.reason for t in stopped} == {"pruner"}
    assert all("worse in all of score, cost than" in t.outcome.detail for t in stopped)
    assert all(t.last.step < 400 for t in stopped)


def test_a_search_that_goes_on_judges_as_if_it_had_not_stopped(tmp_path):
    whole = searched(tmp_path / "whole", Dominated())
    for trials in (9, 17, 40):
        run = searched(tmp_path / "again", Dominated(), trials=trials)
    assert [t.outcome.detail for t in run.trials] == [t.outcome.detail for t in whole.trials]


def test_with_several_objectives_auto_prunes_by_all_of_them():
    two = Plan.of(SearchFile.from_yaml(FILE.format("objectives: [cost]")))
    assert two.advice(RandomSearch()).pruner == Dominated()
    one = Plan.of(SearchFile.from_yaml(FILE.format("race: null")))
    assert isinstance(one.advice(RandomSearch()).pruner, Auto), "which is the median"


def test_dominance_of_one_objective_is_refused():
    with pytest.raises(ConfigError, match=r"only trial\.score counts"):
        SearchFile.from_yaml(FILE.format("pruner: dominated"))
