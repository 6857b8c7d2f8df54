"""Several objectives and bounds, from what trials report to the front."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from metasearch.cli.best import front_rows, front_text, text, told
from metasearch.errors import ConfigError
from metasearch.observe.base import UNTOLD, Bound, Outcome, TrialInfo, Watched
from metasearch.search.advisors import NSGA2, TPE, RandomSearch
from metasearch.search.config import Constraint, SearchFile
from metasearch.search.front import front, under, undominated
from metasearch.search.leaders import Leaders
from metasearch.search.ledger import open_run
from metasearch.search.pool import Pool
from metasearch.search.run import run_search
from metasearch.search.stopping import Dominated, Median, NoPruner
from metasearch.trial.report import Report
from tests.search import planted
from tests.search.plans import plan
from tests.small import blobs_file, searched
from tests.small import trial as small

TRIAL = "tests.search.test_objectives:trial"
WATCHED = (Watched("cost", "", "minimize", False), Watched("copying", "z", "maximize", False))


def trial(config: dict[str, Any], resume: Path | None, **how: Any) -> Iterator[Report]:
    """A planted trial that is dear where its score is good, and copies as `y` says."""
    for report in planted.trial(config, resume, **how):
        told = {"score/copying": -10 * config["y"]}
        if not config.get("mute"):
            told["score/cost"] = (1 - config["x"]) ** 2
        yield replace(report, scalars=told)


def agreed(config: dict[str, Any], resume: Path | None, **how: Any) -> Iterator[Report]:
    """A planted trial that is dear where its score is bad."""
    for report in planted.trial(config, resume, **how):
        yield replace(report, scalars={"score/cost": 2 * report.score, "score/copying": 0.0})


def made(**search: Any):
    tree = {"y": {"uniform": [0.0, 1.0]}, **search.pop("space", {})}
    settings = {"trials": 14, "objectives": ("cost",), "pruner": NoPruner(),
                "constraints": (Constraint(score="copying", at_least=-3.0),), **search}  # fmt: skip
    return replace(plan(tree, **settings), watched=WATCHED)


def journal(folder: Path) -> optuna.Study:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    return optuna.load_study(study_name="planted", storage=optuna.storages.JournalStorage(backend))


@pytest.mark.parametrize("sampler", [TPE(startup_trials=4), NSGA2(population=4), RandomSearch()])
def test_a_search_for_two_objectives_under_a_bound_from_end_to_end(tmp_path, sampler):
    run = run_search(made(sampler=sampler), tmp_path / "r", trial=TRIAL).run
    study = journal(tmp_path / "r")
    assert [d.name for d in study.directions] == ["MINIMIZE", "MINIMIZE"]
    for frozen, record in zip(study.trials, run.trials, strict=True):
        x, y = record.info.params["x"], record.info.params["y"]
        assert frozen.state is TrialState.COMPLETE
        assert frozen.values == [record.outcome.score, (1 - x) ** 2]
        assert frozen.intermediate_values == pytest.approx(
            {1: x + 0.75, 2: x + 0.5, 3: x + 0.25, 4: x}
        )
        assert frozen.constraints == {"copying": pytest.approx(-3 + 10 * y)}
    kept = {t.number for t in run.trials if t.info.params["y"] <= 0.3}
    assert 0 < len(kept) < 14
    assert {t.number for t in run.best(14)} == kept
    # Cost falls where the score rises, so no trial is better than another in both.
    assert {peak.record.number for peak in front(run)} == kept
    assert {t.number for t in run.trials if t.outcome.kept} == kept
    assert {t["trial"]: t["kept"] for t in front_rows(run)} == dict.fromkeys(kept, True)
    assert under(run) == ", with copying at least -3"
    assert {t.number for t in study.best_trials} == kept, "as Optuna has it"


def test_the_front_is_what_is_beaten_by_nobody():
    rng = np.random.default_rng(0)
    costs = rng.normal(size=(40, 3)).round(1)
    expected = [
        i for i, a in enumerate(costs)
        if not any((b <= a).all() and (b < a).any() for b in costs)
    ]  # fmt: skip
    assert list(undominated(costs)) == expected and 1 < len(expected) < 40


def test_a_pruner_sees_the_score_that_ranks_as_if_it_were_alone(tmp_path):
    settings = {"trials": 12, "pruner": Median(startup_trials=2), "sampler": RandomSearch()}
    one = run_search(plan({"y": {"uniform": [0.0, 1.0]}}, **settings), tmp_path / "one",
                     trial="tests.search.planted:trial").run  # fmt: skip
    for trials in (3, 7, 12):  # with restarts
        two = run_search(made(**{**settings, "trials": trials}), tmp_path / "two", trial=TRIAL).run
    assert [(t.outcome.state, t.curve) for t in two.trials] == [
        (t.outcome.state, t.curve) for t in one.trials]  # fmt: skip
    assert two.count("pruned") > 2
    told = journal(tmp_path / "two").trials
    assert [len(t.intermediate_values) for t in told] == [len(t.curve) for t in two.trials]


def test_a_model_of_two_objectives_bears_trials_that_were_stopped(tmp_path):
    alone = plan(trials=24, objectives=("cost",), sampler=TPE(startup_trials=4),
                 pruner=Dominated(startup_trials=2, warmup=0, share=0.1))  # fmt: skip
    for trials in (15, 24):  # with a restart
        made = replace(alone, search=replace(alone.search, trials=trials), watched=WATCHED)
        run = run_search(made, tmp_path / "r", trial="tests.search.test_objectives:agreed").run
    assert run.count("pruned") > 10 and run.count("failed") == 0


def test_a_search_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = run_search(made(sampler=TPE(startup_trials=3)), tmp_path / "whole", trial=TRIAL).run
    for trials in (2, 5, 9, 14):
        some = made(sampler=TPE(startup_trials=3), trials=trials)
        run = run_search(some, tmp_path / "again", trial=TRIAL).run
    assert [t.info for t in run.trials] == [t.info for t in whole.trials]


def test_a_trial_that_does_not_tell_an_objective_is_no_finished_one(tmp_path):
    mute = made(space={"mute": {"choice": [True, False]}}, constraints=())
    run = run_search(mute, tmp_path / "r", trial=TRIAL).run
    for record in run.trials:
        silent = record.info.params["mute"]
        assert record.outcome.reason == ("objective" if silent else "finished")
        assert record.outcome.detail == ("it tells no cost" if silent else "")
    assert {t.state for t in journal(tmp_path / "r").trials} == {
        TrialState.COMPLETE, TrialState.PRUNED}  # fmt: skip


def test_where_all_break_a_bound_the_best_of_them_is_told(tmp_path):
    bound = (Constraint(score="cost", at_most=-1.0),)
    run = run_search(made(constraints=bound, trials=4), tmp_path / "r", trial=TRIAL).run
    assert len(run.best(9)) == 4
    said = text(run, Leaders.of(run), 4)
    assert "None of the 4 finished trials keeps cost at most -1; all are ranked." in said
    assert "; none keeps cost at most -1" in front_text(run)
    assert [row["kept"] for row in told(run.info, Leaders.of(run), 4)["best"]] == [False] * 4
    assert told(run.info, Leaders.of(run), 4)["bounds"] == ["cost at most -1"]


def test_who_breaks_a_bound_hands_its_weights_on_only_if_nobody_else_of_its_models_can():
    pool, models = Pool(Path("run")), {"models": [{"name": "vae"}]}
    trials = [TrialInfo(n, f"{n:04d}", {}, models) for n in range(3)]
    for trial, (score, kept) in zip(trials, [(1.0, False), (3.0, True), (2.0, False)], strict=True):
        pool.ended(trial, Outcome("complete", "finished", score, kept=kept))
        assert pool.best_of(models).number == min(trial.number, 1)


def test_bounds_hold_on_both_sides_and_what_is_not_told_breaks_them():
    bound = Bound("cost", at_least=1.0, at_most=3.0)
    assert [bound.excess({"score/cost": c}) for c in (0.0, 1.0, 2.0, 4.0)] == [1.0, 0.0, -1.0, 1.0]
    assert bound.excess({}) == UNTOLD


FILE = """
search: {{name: small, {}}}
trial:
  tasks: {{name: glyphs}}
  models: [{{name: vae, latent: {{choice: [8, 16]}}}}]
  algorithms: [{{name: reptile}}]
  score: mmd
  also: [cost, diversity]
"""


@pytest.mark.parametrize(("settings", "said"), [
    ("objectives: [cost, price]", r"objectives\[1\]: 'price' is not watched.* there: cost, div"),
    ("constraints: [{score: nll, at_most: 1}]", r"constraints\[0\]\.score: 'nll' is not watched"),
    ("constraints: [{score: cost}]", "set `at_least`, `at_most` or both"),
    ("objectives: [cost], race: {}", "who loses may still be on the front"),
    ("objectives: [cost], sampler: cma_es", "cma_es"),
])  # fmt: skip
def test_objectives_that_cannot_be_followed_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        SearchFile.from_yaml(FILE.format(settings))


def test_objectives_and_constraints_are_read():
    text = "objectives: [diversity, cost], constraints: [{score: cost, at_most: 900}]"
    search = SearchFile.from_yaml(FILE.format(text)).search
    assert search.objectives == ("diversity", "cost")
    assert search.constraints == (Constraint(score="cost", at_most=900.0),)


def test_a_real_search_leaves_a_front(tmp_path):
    tree = small(
        blobs_file(tmp_path / "b.npz"),
        algorithms=[{"name": "reptile", "inner": {"steps": 1, "lr": 0.05,
                     "test_steps": {"integers": [1, 9]}}}],
        also=["cost"],
    )  # fmt: skip
    run = searched(tmp_path / "run", tree, trials=5, objectives=["cost"],
                   constraints=[{"score": "cost", "at_most": 25}])  # fmt: skip
    peaks = front(open_run(run.folder))
    assert peaks and all(peak.values["cost"] <= 25 for peak in peaks)
    for one, other in itertools.pairwise(peaks):
        assert (
            one.values["nll"] <= other.values["nll"] and one.values["cost"] >= other.values["cost"]
        )
