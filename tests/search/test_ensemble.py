"""Several trials exported as one: chosen on `confirm`, beside the single winner, whole in a bundle."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from metasearch.bundle.evaluate import evaluate
from metasearch.bundle.load import load_bundle
from metasearch.cli.exported import report_text
from metasearch.errors import RunError
from metasearch.search import ensemble as module
from metasearch.search.config import Confirm
from metasearch.search.confirm import Candidate, judge_on, panel_of, rank
from metasearch.search.ensemble import alike, assemble, distinct
from metasearch.search.export import SINGLE, export
from metasearch.search.ledger import Run, open_run
from metasearch.trial.config import from_data
from metasearch.trial.loop import bench_for
from tests.small import blobs_file, searched, trial


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return blobs_file(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory) -> Run:
    """Four trials of nets of two sizes, all of one seed."""
    latent = {"choice": [2, 8]}
    models = [{"name": "vae", "latent": latent, "net": {"name": "mlp", "hidden": 16}}]
    tree = trial(file, models=models, outer={"lr": {"log_uniform": [5e-3, 2e-2]}})
    run = searched(tmp_path_factory.mktemp("runs") / "blobs", tree, trials=4, seed=1)
    assert {2, 8} == {r.info.params["models[0].latent"] for r in run.trials}
    return run


@pytest.fixture
def run(finished, tmp_path) -> Run:
    return open_run(shutil.copytree(finished.folder, tmp_path / "blobs"))


@pytest.fixture(scope="module")
def bench(finished):
    return bench_for(from_data(finished.trials[0].info.config))


@pytest.fixture(scope="module")
def candidates(finished, bench):
    return [Candidate.revive(record, bench) for record in finished.best(4)]


def on_confirm(candidate, bench):
    return judge_on(candidate, panel_of(candidate.config, bench, "confirm", also=("cost",))).mean


@pytest.mark.parametrize("rule", ["mixture", "greedy", "soup"])
def test_no_rule_exports_what_is_worse_on_confirm_than_the_winner(rule, candidates, bench):
    winner, _ = rank(candidates, bench, tell=lambda _: None)
    found, told = assemble(candidates, winner, bench, rule, tell=lambda _: None)
    assert on_confirm(found, bench) <= on_confirm(winner, bench)
    assert told["taken"] is bool(found.together) is (found is not winner)
    if found.together:
        assert sum(share for _, share in found.together) == pytest.approx(1)
        assert told["confirm"] == pytest.approx(on_confirm(found, bench), rel=1e-4)
        assert told["single"] == pytest.approx(on_confirm(winner, bench), rel=1e-4)


def test_a_recipe_that_was_tried_twice_is_taken_in_once(candidates):
    first, second, *_ = candidates
    again = dataclasses.replace(second)
    assert distinct([first, second, again], first) == [first, second]
    (one, other) = distinct([second, first, again], again)
    assert one is first and other is again


def test_weights_are_averaged_of_trials_that_began_alike_alone(candidates):
    sizes = [c.config.models[0].latent for c in candidates]
    for one, size in zip(candidates, sizes, strict=True):
        for other, theirs in zip(candidates, sizes, strict=True):
            assert alike(one, other) is (size == theirs)
    elsewhere = dataclasses.replace(candidates[0].config, seed=7)
    assert not alike(candidates[0], dataclasses.replace(candidates[0], config=elsewhere))


def test_a_soup_is_the_mean_of_its_members(candidates, bench, monkeypatch):
    winner, _ = rank(candidates, bench, tell=lambda _: None)
    pool = [c for c in candidates if alike(c, winner)]
    even = np.full(len(pool), 1 / len(pool))
    monkeypatch.setattr(module, "_shares", lambda *_: even)
    losses = iter([np.array([-1e9])])
    monkeypatch.setattr(module, "_losses", lambda *_: next(losses))  # so that it is taken
    found, _ = assemble(candidates, winner, bench, "soup", tell=lambda _: None)
    mine = found.adapter.learner.parameters()
    for name, value in mine.items():
        each = [c.adapter.learner.parameters()[name] for c in pool]
        assert torch.allclose(value, torch.stack(each).mean(0), atol=1e-6)


def test_an_ensemble_that_is_worse_is_not_taken(candidates, bench, monkeypatch):
    winner, _ = rank(candidates, bench, tell=lambda _: None)
    worst = max(candidates, key=lambda c: on_confirm(c, bench))

    def bad(rule, evidence, n):
        share = np.full(n, 1e-3)
        share[candidates.index(worst)] = 1
        return share / share.sum()

    monkeypatch.setattr(module, "_shares", bad)
    found, told = assemble(candidates, winner, bench, "mixture", tell=lambda _: None)
    assert found is winner and not told["taken"]
    assert told["confirm"] > told["single"]


def test_one_candidate_is_no_ensemble(candidates, bench):
    found, told = assemble(candidates[:1], candidates[0], bench, "mixture", tell=lambda _: None)
    assert found is candidates[0]
    assert told == {"rule": "mixture", "members": [], "taken": False}


def test_a_mixture_is_exported_whole_and_judged_beside_the_single_winner(run, tmp_path):
    report = export(
        run, tmp_path / "b", confirm=Confirm(ensemble="mixture"), baselines=("scratch",)
    )
    told = report["ensemble"]
    assert told["taken"] and len(told["members"]) > 1
    assert set(report["against"]) == {"scratch", SINGLE}
    rival = report["baselines"][SINGLE]
    assert report["splits"]["confirm"]["mean"] < rival["confirm"]["mean"]
    bundle = load_bundle(tmp_path / "b")
    assert [part.weight for part in bundle.parts] == [m["share"] for m in told["members"]]
    for split in ("confirm", "test"):
        again = evaluate(bundle, split=split)
        assert again["mean"] == report["splits"][split]["mean"]
    drawn = bundle.adapt(np.zeros((3, 8, 8), np.uint8)).sample(5, seed=1)
    assert drawn.shape == (5, 1, 8, 8) and drawn.isfinite().all()
    assert "this is a mixture of" in report_text(report)
    assert "mixture of" in (tmp_path / "b" / "README.md").read_text()


def test_the_winner_alone_after_the_ensemble_would_be_a_second_look_at_test(run, tmp_path):
    export(run, tmp_path / "b", confirm=Confirm(ensemble="mixture"), baselines=())
    with pytest.raises(RunError, match=r"opened for trials .* together, not for trial \d"):
        export(run, tmp_path / "c", baselines=())
    again = export(run, tmp_path / "d", confirm=Confirm(ensemble="mixture"), baselines=())
    assert again["test_openings"] == 1
