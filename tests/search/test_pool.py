"""Trials that start from others: which, with what lineage, and still reproducible."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from metasearch.errors import RunError
from metasearch.search.backend import placed
from metasearch.search.baselines import baseline
from metasearch.search.confirm import Candidate
from metasearch.search.pool import Pool
from metasearch.search.worker import whole_checkpoints
from metasearch.trial.checkpoint import Frozen
from metasearch.trial.config import from_data
from metasearch.trial.loop import Trial, bench_for, run_trial
from metasearch.trial.start import Start
from tests.small import blobs_file, config, searched, trial

MODELS = [{"name": "vae", "latent": {"choice": [2, 4]}, "net": {"name": "mlp", "hidden": 16}}]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return blobs_file(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture(scope="module")
def run(file, tmp_path_factory):
    tree = trial(file, models=MODELS, outer={"lr": {"log_uniform": [5e-3, 2e-2]}})
    return searched(
        tmp_path_factory.mktemp("runs") / "r", tree, trials=6, seed=1, warm_start=True, race=None
    )


def test_a_trial_begins_from_the_best_that_finished_before_with_the_same_models(run):
    begun = 0
    for record in run.trials:
        before = [r for r in run.trials if r.number < record.number
                  and r.info.config["models"] == record.info.config["models"]]  # fmt: skip
        start = record.info.config["start"]
        assert (start is None) is (not before)
        if before:
            best = min(before, key=lambda r: r.outcome.score)
            assert start["checkpoint"].startswith(f"trials/{best.info.name}/checkpoints/")
            begun += 1
    assert begun >= 3


def test_a_score_is_a_function_of_the_recipe_wherever_the_run_folder_is(run, tmp_path):
    record = next(r for r in reversed(run.trials) if r.info.config["start"])
    moved = shutil.copytree(run.folder, tmp_path / "moved")
    again = from_data(placed(record.info.config, moved))
    *_, last = run_trial(again)
    assert last.score == record.outcome.score
    alone = dataclasses.replace(again, start=None)
    *_, other = run_trial(alone)
    assert other.score != last.score


def test_weights_are_those_of_the_checkpoint_and_the_budget_starts_anew(run):
    record = run.trials[0]
    checkpoint = whole_checkpoints(record.folder)[0]
    start = placed({"start": vars(Start.at(checkpoint, run.folder))}, run.folder)["start"]
    own = from_data({**record.info.config, "start": start, "seed": 3})
    begun = Trial.open(own, bench_for(own))
    own.start.give([m.learner for m in begun.practice.population.members], "cpu")
    want = Frozen.load(checkpoint).tensors["model-0"]
    for name, value in begun.practice.population.members[0].learner.parameters().items():
        assert torch.equal(value, want[name])
    assert (begun.gradients, begun.meta_steps) == (0, 0)


def test_a_changed_checkpoint_or_other_models_are_refused(run, file, tmp_path):
    small = next(r for r in run.trials if r.info.params["models[0].latent"] == 2)
    kept = whole_checkpoints(small.folder)[0]
    copy = shutil.copytree(kept, tmp_path / "start")
    start = Start.at(copy, tmp_path)
    here = dataclasses.replace(start, checkpoint=str(copy))
    with pytest.raises(RunError, match="do not fit models"):
        next(run_trial(dataclasses.replace(config(file), start=here)))  # whose latent is 4
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "more": 1}))
    with pytest.raises(RunError, match="sha256 differs"):
        next(run_trial(dataclasses.replace(config(file), start=here)))
    shutil.rmtree(copy)
    with pytest.raises(RunError, match="no whole checkpoint to start from"):
        next(run_trial(dataclasses.replace(config(file), start=here)))


def test_a_baseline_starts_from_nothing(run):
    record = next(r for r in run.trials if r.info.config["start"])
    winner = Candidate.revive(record, bench_for(from_data(record.info.config)))
    assert winner.config.start is not None
    assert baseline(winner.config, winner.champion, "joint").start is None


def test_a_trial_that_was_drawn_before_some_settings_came_is_of_the_same_models(run):
    pool = Pool(run.folder)
    first = run.trials[0]
    net = {k: v for k, v in first.info.config["models"][0]["net"].items() if k != "code"}
    older = {**first.info.config, "models": [{**first.info.config["models"][0], "net": net}]}
    pool.ended(dataclasses.replace(first.info, config=older), first.outcome)
    assert pool.best_of(first.info.config).number == first.number


def test_without_asking_nobody_starts_from_anybody(file, tmp_path):
    tree = trial(file, models=MODELS)
    plain = searched(tmp_path / "r", tree, trials=3, seed=1)
    assert [r.info.config["start"] for r in plain.trials] == [None] * 3
