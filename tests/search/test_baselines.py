"""What a winner is compared with: trained once, on the winner's terms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from metasearch.errors import RunError
from metasearch.models import MODELS
from metasearch.models.base import TranslatorModel
from metasearch.registry import to_data
from metasearch.scores.features import random_features
from metasearch.search import baselines
from metasearch.search.baselines import against, baseline, itself, no_figr, train
from metasearch.search.config import SearchFile
from metasearch.trial.anchors import UNTOUCHED, anchors_of
from metasearch.trial.config import Strategy, TrialConfig
from metasearch.trial.judge import Panel, judge, measure
from metasearch.trial.loop import Bench, Trial, bench_for, run_trial
from metasearch.trial.population import Champion
from metasearch.trial.report import FLOOR, REAL
from tests.small import REPTILE, blobs_file, config, trial

POOL = {
    "models": [{"name": "gan", "latent": 3, "net": {"name": "mlp", "hidden": 8}},
               {"name": "vae", "latent": 4, "net": {"name": "mlp", "hidden": 16}}],
    "algorithms": [REPTILE, {"name": "anil", "inner": {"steps": 3, "rates": "per_tensor"}}],
    "score": {"name": "mmd"},
}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return blobs_file(tmp_path_factory.mktemp("data") / "blobs.npz")


def champion_of(recipe: TrialConfig, bench: Bench) -> Champion:
    return Trial.open(recipe, bench).practice.crown()[0]


@pytest.mark.parametrize("changes", [{}, POOL], ids=["single", "pool"])
@pytest.mark.parametrize("name", ["joint", "scratch"])
def test_a_baseline_has_the_winners_network_budget_and_inner_loop(file, changes, name):
    recipe = config(file, **changes)
    bench = Bench(recipe.tasks.open(), None)
    champion = champion_of(recipe, bench)
    made = baseline(recipe, champion, name)
    assert made.models == (champion.family,)
    assert [a.name for a in made.algorithms] == [name]
    inner, theirs = made.algorithms[0].inner, champion.algorithm.inner
    assert (inner.steps, inner.lr, inner.test_steps) == (theirs.steps, theirs.lr, theirs.test_steps)
    assert (inner.rates, inner.adapts) == ("fixed", "all")
    assert made.strategy == Strategy()
    same = ("seed", "budget", "outer", "tasks", "score", "judging")
    assert all(getattr(made, field) == getattr(recipe, field) for field in same)


@pytest.mark.parametrize("changes", [{}, POOL], ids=["single", "pool"])
def test_the_recipe_of_figr_has_the_winners_budget_and_what_its_search_space_says(file, changes):
    published = SearchFile.load("search_spaces/figr.yaml")
    recipe = config(file, **changes)
    made = baseline(recipe, champion_of(recipe, Bench(recipe.tasks.open(), None)), "figr")
    params = {draw.path: draw.options[0] for draw in published.draws}
    theirs = published.config({**params, "models[0].net.width": 32})
    for field in ("models", "algorithms", "outer", "strategy", "start"):
        assert getattr(made, field) == getattr(theirs, field), field
    assert made.budget == replace(recipe.budget, tasks_per_step=1)
    same = ("seed", "tasks", "score", "also", "judging", "engine", "device", "precision")
    assert all(getattr(made, field) == getattr(recipe, field) for field in same)


def test_a_recipe_is_no_rival_of_itself(file):
    recipe = config(file)
    bench = Bench(recipe.tasks.open(), None)
    mine = champion_of(recipe, bench)

    def same(name: str, winner: Champion) -> bool:
        return itself(name, baseline(recipe, mine, name), winner)

    assert [same(name, mine) for name in ("joint", "reptile", "figr")] == [False, True, False]
    figr = champion_of(baseline(recipe, mine, "figr"), bench)
    faster = replace(figr.algorithm, inner=replace(figr.algorithm.inner, lr=0.05))
    assert same("figr", figr) and same("reptile", figr)
    assert not same("figr", replace(figr, algorithm=faster))


def counted(monkeypatch) -> list[str]:
    """The algorithms that are trained from now on."""
    trained: list[str] = []

    def run(config, **rest):
        trained.append(config.algorithms[0].name)
        return run_trial(config, **rest)

    monkeypatch.setattr(baselines, "run_trial", run)
    return trained


def test_a_baseline_is_trained_once_and_found_again(file, tmp_path, monkeypatch):
    trained = counted(monkeypatch)
    recipe = config(file)
    bench = bench_for(recipe)
    champion = champion_of(recipe, bench)
    joint = baseline(recipe, champion, "joint")
    one, two = (train(tmp_path, joint, bench).learner.parameters() for _ in range(2))
    assert trained == ["joint"]
    assert all(torch.equal(one[name], two[name]) for name in one)
    (place,) = (tmp_path / "baselines").iterdir()
    assert place.name.startswith("joint-")

    train(tmp_path, baseline(recipe, champion, "scratch"), bench)
    train(tmp_path, replace(joint, seed=1), bench)
    other = Bench(replace_fingerprint(bench.data), None)
    train(tmp_path, joint, other)
    assert trained == ["joint", "scratch", "joint", "joint"]
    assert len(list((tmp_path / "baselines").iterdir())) == 4


def replace_fingerprint(data):
    """The same images, as if somebody had changed one."""

    class Changed(type(data)):
        def __init__(self) -> None:
            self.__dict__.update(vars(data))
            self.fingerprint = "changed"

    return Changed()


def test_a_baseline_that_was_cut_short_is_trained_again(file, tmp_path, monkeypatch):
    trained = counted(monkeypatch)
    recipe = config(file)
    bench = bench_for(recipe)
    joint = baseline(recipe, champion_of(recipe, bench), "joint")
    train(tmp_path, joint, bench)
    (place,) = (tmp_path / "baselines").iterdir()
    (place / "manifest.json").unlink()
    train(tmp_path, joint, bench)
    assert trained == ["joint", "joint"]
    weights = place / "model-0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"model-0\.safetensors: missing or changed"):
        train(tmp_path, joint, bench)


def test_a_joint_baseline_learned_and_scratch_did_not(file, tmp_path):
    recipe = config(file)
    bench = bench_for(recipe)
    champion = champion_of(recipe, bench)
    fresh = champion.adapter.learner.parameters()
    joint, scratch = (
        train(tmp_path, baseline(recipe, champion, name), bench).learner.parameters()
        for name in ("joint", "scratch")
    )
    assert all(torch.equal(fresh[name], scratch[name]) for name in fresh)
    assert any(not torch.equal(fresh[name], joint[name]) for name in fresh)


def entry(*values: float) -> dict:
    return {"per_task": {f"g/{i}": value for i, value in enumerate(values)}}


def test_a_difference_is_paired_by_task_and_settled_where_its_interval_leaves_zero():
    ours = entry(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    found = against(ours, entry(2.1, 3.0, 4.0, 5.1, 5.9, 7.0))
    assert found["difference"] == pytest.approx(-6.1 / 6)
    assert found["low"] < found["difference"] < found["high"] < 0
    assert found["settled"] is True
    found = against(ours, entry(6.0, 5.0, 4.0, 3.0, 2.0, 1.0))
    assert found["difference"] == 0
    assert found["settled"] is False
    shuffled = {"per_task": dict(reversed(ours["per_task"].items()))}
    assert against(ours, shuffled)["difference"] == 0
    assert against(ours, shuffled)["low"] == 0


def test_a_rival_that_diverged_settles_nothing():
    found = against(entry(1.0, 2.0), entry(math.nan, math.nan))
    assert math.isnan(found["difference"])
    assert found["settled"] is False


@pytest.mark.parametrize("score", [{"name": "nll", "samples": 2}, {"name": "jsd"}])
def test_anchors_stand_at_both_ends_of_the_scale(file, score, monkeypatch):
    """Real images have no likelihood; where samples are judged, nothing beats them by much."""
    monkeypatch.setattr("metasearch.trial.loop.cached_features", random_features)
    recipe = config(file, score=score)
    bench = bench_for(recipe)
    panels = {"search": Panel.gather(recipe, bench.data, bench.features, "search", "cpu")}
    learner = champion_of(recipe, bench).adapter.learner
    found = anchors_of(recipe, bench, learner, panels)
    floors = {"Beta-Bernoulli pixels", "kernel density", "pixel marginal"}
    if score["name"] != "nll":
        floors |= {"copies of the support", "jittered copies", "real images"}
    assert set(found) == floors
    assert all(entry["search"]["per_task"].keys() == set(panels["search"].tasks)
               for entry in found.values())  # fmt: skip
    means = {name: entry["search"]["mean"] for name, entry in found.items()}
    assert means["Beta-Bernoulli pixels"] < means["pixel marginal"]
    assert anchors_of(recipe, bench, learner, panels, names=["kernel density"]) == {
        "kernel density": found["kernel density"]
    }
    if "real images" in means:
        assert means["real images"] < means["Beta-Bernoulli pixels"]
        assert means["real images"] < means["copies of the support"]


def test_too_few_anchor_images_leave_out_the_row_and_not_the_export(file, monkeypatch):
    monkeypatch.setattr("metasearch.trial.loop.cached_features", random_features)
    tasks = {**trial(file)["tasks"], "anchor": 1}
    recipe = config(file, score={"name": "mmd"}, tasks=tasks)
    bench = bench_for(recipe)
    panels = {"search": Panel.gather(recipe, bench.data, bench.features, "search", "cpu")}
    found = anchors_of(recipe, bench, champion_of(recipe, bench).adapter.learner, panels)
    assert "real images" not in found
    assert set(found) > {"Beta-Bernoulli pixels", "kernel density", "pixel marginal"}


@pytest.mark.parametrize("family", list(MODELS))
def test_every_family_has_its_baselines_floors_and_real_images(file, family, tmp_path, monkeypatch):
    monkeypatch.setattr("metasearch.trial.loop.cached_features", random_features)
    plain = {**trial(file)["tasks"], "size": 16}
    others = {
        "y": {"name": "conditional", "source": plain, "classes": 2},
        "a": {"name": "pairs", "size": 16, "shot": 3, "query": 4, "anchor": 4},
    }
    asked = [tasks for domain, tasks in others.items() if domain in MODELS[family]().domains]
    recipe = config(
        file,
        tasks=asked[0] if asked else plain,
        models=[{"name": family}],
        score={"name": "mmd"},
        budget={"gradients": 24, "reports": 1, "tasks_per_step": 2},
    )
    bench = bench_for(recipe)
    panel = Panel.gather(recipe, bench.data, bench.features, "search", "cpu")
    champion = champion_of(recipe, bench)
    figr = () if no_figr(to_data(recipe)) else ("figr",)
    assert bool(figr) is (family not in {"cyclegan"})
    for name in (*figr, "joint", "scratch"):
        rival = train(tmp_path, baseline(recipe, champion, name), bench)
        told = measure(rival, recipe.engine, panel)
        assert math.isfinite(told["mean"]) and math.isfinite(told["before"]["mean"])
    domain = judge(rival, recipe.engine, panel).domain
    found = anchors_of(recipe, bench, champion.adapter.learner, {"search": panel}, domain)
    assert set(found) >= {FLOOR, REAL}
    assert (UNTOUCHED in found) is isinstance(champion.family, TranslatorModel)
