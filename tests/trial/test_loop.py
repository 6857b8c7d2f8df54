"""A trial is a function of (config, seed, code, data): alone, resumed, or beside others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from metasearch.algorithms import MAML, Joint, Reptile, Scratch
from metasearch.engine.base import InnerLoop
from metasearch.errors import ConfigError, RunError
from metasearch.models import CGAN, GAN, VAE
from metasearch.models.base import LikelihoodModel
from metasearch.models.nets import Mlp
from metasearch.registry import to_data
from metasearch.scores import SCORES
from metasearch.scores.base import lacks
from metasearch.scores.features import random_features
from metasearch.tasks import Arrays, Conditional
from metasearch.trial.checkpoint import Frozen
from metasearch.trial.config import Budget, Judging, Strategy, TrialConfig
from metasearch.trial.judge import Panel, judge, settle
from metasearch.trial.loop import Bench, Trial, champion_at, run_trial
from metasearch.trial.precision import pick_device
from metasearch.trial.preemptible import trial_from_data
from metasearch.trial.report import Halt, Pause, Report
from tests.games import Blobs, BlobSource
from tests.small import blobs_file

INNER = InnerLoop(steps=2, lr=0.01)
NET = Mlp(hidden=16)


@pytest.fixture(scope="module")
def bench():
    data = Blobs()
    return Bench(data, random_features(data))


def config(**changes) -> TrialConfig:
    base = TrialConfig(
        tasks=BlobSource(),
        models=(VAE(latent=4, net=NET),),
        algorithms=(Reptile(inner=INNER),),
        score=SCORES["mmd"](),
        budget=Budget(gradients=360, reports=3, tasks_per_step=4),
        judging=Judging(tasks=4, samples=6),
    )
    return dataclasses.replace(base, **changes)


POOL = {
    "models": (VAE(latent=4, net=NET), GAN(latent=4, net=NET)),
    "algorithms": (Reptile(inner=INNER), Joint(inner=INNER), MAML(inner=INNER, first_order=True)),
    "strategy": Strategy(segment=2),
}


def told(reports):
    """What a report says, without the clock."""
    data = [r.to_data() for r in reports]
    for d in data:
        d["cost"].pop("seconds")
    return json.dumps(data)


def test_it_reports_as_often_as_asked_and_the_last_is_final(bench):
    reports = list(run_trial(config(), bench=bench))
    assert [r.step for r in reports] == [120, 240, 360]
    assert [r.final for r in reports] == [False, False, True]
    assert all(np.isfinite(r.score) and r.low <= r.score <= r.high for r in reports)


@pytest.mark.parametrize("changes", [{}, POOL], ids=["single", "pool"])
def test_the_same_config_gives_the_same_reports_and_another_seed_others(bench, changes):
    one, two = (list(run_trial(config(**changes), bench=bench)) for _ in range(2))
    other = list(run_trial(config(**changes, seed=1), bench=bench))
    assert told(one) == told(two)
    assert told(one) != told(other)


@pytest.mark.parametrize("changes", [{}, POOL], ids=["single", "pool"])
@pytest.mark.parametrize("after", [1, 2])
def test_resuming_equals_not_stopping_bit_for_bit(bench, tmp_path, changes, after):
    whole = list(run_trial(config(**changes), bench=bench))
    begun = run_trial(config(**changes), bench=bench)
    for _ in range(after):
        report = next(begun)
    report.snapshot.save(tmp_path / "snap")
    rest = list(run_trial(config(**changes), resume=tmp_path / "snap", bench=bench))
    assert told(whole[after:]) == told(rest)
    ends = [r[-1].snapshot.tensors for r in (whole, rest)]
    assert all(torch.equal(ends[0][f][k], ends[1][f][k]) for f in ends[0] for k in ends[0][f])


@pytest.mark.parametrize("changes", [{}, POOL], ids=["single", "pool"])
@pytest.mark.parametrize("resumed", [False, True])
def test_pausing_after_each_meta_step_changes_no_report(bench, tmp_path, changes, resumed):
    whole = list(run_trial(config(**changes), bench=bench))
    trial, told_of, pauses = Trial.open(config(**changes), bench), [], 0
    while not trial.finished:
        if trial.train(lambda: True):
            told_of.append(trial.report())
        elif resumed:
            pauses += 1
            trial.freeze().save(tmp_path / str(pauses))
            trial = Trial.begin(config(**changes), bench, tmp_path / str(pauses), None)
        else:
            pauses += 1
    assert pauses == trial.meta_steps > len(whole)
    assert told(told_of) == told(whole)


def test_a_trial_in_a_worker_pauses_where_there_is_hurry_and_goes_on(bench, monkeypatch):
    monkeypatch.setattr("metasearch.trial.preemptible.bench_for", lambda _: bench)
    monkeypatch.setattr("metasearch.trial.preemptible.from_data", lambda _: config())
    asked = iter([False, True, *[False] * 99])
    found = list(trial_from_data({}, None, hurry=lambda: next(asked)))
    assert [type(said) for said in found] == [Pause, Report, Report, Report]
    assert told(found[1:]) == told(run_trial(config(), bench=bench))


def test_a_race_that_is_not_lost_changes_no_report(bench, monkeypatch):
    monkeypatch.setattr("metasearch.trial.judge.CHUNK", 2)
    asked = []

    def ask(step, seen, looks):
        asked.append((step, dict(seen), looks))

    whole = list(run_trial(config(**POOL), bench=bench))
    raced = run_trial(config(**POOL), bench=bench, race=ask)
    assert told(raced) == told(whole)
    assert [step for step, _, _ in asked] == [120, 120, 240, 240, 360, 360]
    assert {looks for _, _, looks in asked} == {2}
    for lot, (step, seen, _) in enumerate(asked):
        per_task = next(r for r in whole if r.step == step).per_task
        assert len(seen) == (4 if lot % 2 else 2)
        assert seen == pytest.approx({task: per_task[task] for task in seen}, rel=1e-5)


def test_a_race_that_is_lost_ends_the_trial_with_what_was_seen(bench, monkeypatch):
    monkeypatch.setattr("metasearch.trial.judge.CHUNK", 2)
    whole = list(run_trial(config(), bench=bench))
    raced = run_trial(
        config(),
        bench=bench,
        race=lambda step, *_: Halt(lost="too slow") if step == 240 else None,
    )
    first, last = raced
    assert told([first]) == told(whole[:1])
    assert (last.step, last.final, last.lost) == (240, True, "too slow")
    assert list(last.per_task) == list(whole[1].per_task)[::2], "every second task by name"
    assert last.score == np.mean(list(last.per_task.values()))
    assert last.snapshot is None and last.cost.gradients == whole[1].cost.gradients


def test_who_is_behind_for_now_says_so_and_goes_on_as_if_all_tasks_had_been_judged(
    bench, monkeypatch, tmp_path
):
    monkeypatch.setattr("metasearch.trial.judge.CHUNK", 2)
    whole = list(run_trial(config(**POOL), bench=bench))
    halt = Halt(behind="behind 0003", score=7.5)
    first, *rest = run_trial(
        config(**POOL), bench=bench, race=lambda step, *_: halt if step == 120 else None
    )
    assert (first.step, first.final, first.behind, first.score) == (120, False, "behind 0003", 7.5)
    assert not first.whole and list(first.per_task) == list(whole[0].per_task)[::2]
    assert first.cost.gradients == whole[0].cost.gradients and not first.scalars
    assert told(rest) == told(whole[1:])
    first.snapshot.save(tmp_path / "snap")
    assert told(run_trial(config(**POOL), resume=tmp_path / "snap", bench=bench)) == told(rest)


def test_a_last_report_is_of_all_tasks(bench, monkeypatch):
    monkeypatch.setattr("metasearch.trial.judge.CHUNK", 2)
    halt = Halt(behind="behind 0003", score=7.5)
    *parts, last = run_trial(config(), bench=bench, race=lambda *_: halt)
    assert all(part.behind for part in parts) and last.final and last.whole


def test_the_score_of_a_report_is_what_judging_its_snapshot_gives(bench, tmp_path):
    cfg = config(**POOL)
    *_, last = run_trial(cfg, bench=bench)
    last.snapshot.save(tmp_path / "snap")
    champion = champion_at(cfg, tmp_path / "snap", bench)
    panel = Panel.gather(cfg, bench.data, bench.features, "search", "cpu")
    found = judge(champion.adapter, cfg.engine, panel)
    assert dict(zip(panel.tasks, found.after["mmd"], strict=True)) == last.per_task


def test_only_train_and_search_tasks_are_touched(bench):
    seen = set()

    class Watched(Blobs):
        def episodes(self, tasks, **kw):
            seen.update(t.split("/")[0] for t in tasks)
            return Blobs.episodes(self, tasks, **kw)

    list(run_trial(config(), bench=Bench(Watched(), bench.features)))
    assert seen == {"train", "search"}


def test_budgets_of_pools_and_algorithms_agree_within_two_percent(bench):
    budget = Budget(gradients=6000, reports=1, tasks_per_step=4)
    spent = [
        list(run_trial(config(budget=budget, **c), bench=bench))[-1].cost.gradients
        for c in (
            {},
            {"algorithms": (Joint(inner=INNER),)},
            {"algorithms": (MAML(inner=INNER),)},
            POOL,
        )
    ]
    assert max(spent) <= 1.02 * min(spent)


def test_training_improves_on_the_fresh_initialisation(bench):
    budget = Budget(gradients=12000, reports=2, tasks_per_step=4)
    cfg = config(score=SCORES["nll"](samples=4), budget=budget)
    first, last = run_trial(cfg, bench=bench)
    assert last.score < first.score
    (scratch,) = run_trial(
        dataclasses.replace(cfg, algorithms=(Scratch(inner=INNER),)), bench=bench
    )
    assert last.score < scratch.score - 1
    assert scratch.cost.gradients == 0 and scratch.final


def test_a_trial_that_diverges_ends_with_a_score_that_is_not_a_number(bench):
    wild = InnerLoop(steps=3, lr=1e30, clip=0)
    reports = list(run_trial(config(algorithms=(MAML(inner=wild),)), bench=bench))
    assert reports[-1].final and np.isnan(reports[-1].score)
    assert reports[-1].scalars["tasks/non_finite"] > 0


def test_a_diverged_task_counts_as_the_worst_and_too_many_as_no_score():
    values = np.array([1.0, np.nan, 3.0, 2.0])
    assert settle(values, worst_is_high=True).tolist() == [1, 3, 3, 2]
    assert settle(values, worst_is_high=False).tolist() == [1, 1, 3, 2]
    assert np.isnan(settle(np.array([1.0, np.nan, np.nan]), worst_is_high=True)).all()


def test_a_torn_or_changed_snapshot_is_refused(bench, tmp_path):
    report = next(run_trial(config(), bench=bench))
    folder = tmp_path / "snap"
    report.snapshot.save(folder)
    (folder / "manifest.json").rename(folder / "gone")
    with pytest.raises(RunError, match="not a whole checkpoint"):
        Frozen.load(folder)
    (folder / "gone").rename(folder / "manifest.json")
    weights = next(folder.glob("model-*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RunError, match="changed since"):
        Frozen.load(folder)


def test_pictures_show_the_same_tasks_and_supports_in_every_trial(bench):
    one = next(run_trial(config(), bench=bench)).samples
    two = next(run_trial(config(models=(GAN(latent=4, net=NET),), seed=3), bench=bench)).samples
    assert one.tasks == two.tasks
    assert np.array_equal(one.support, two.support)
    assert one.after.dtype == np.uint8 and one.after.shape[2:] == (8, 8, 1)


def test_a_config_survives_the_way_to_data_and_back():
    from metasearch.trial.config import from_data

    cfg = config(**POOL)
    data = json.loads(json.dumps(to_data(cfg)))
    data["tasks"] = {"name": "glyphs"}
    data["score"] = {"name": "mmd"}
    assert from_data(data).models == cfg.models
    data["models"][0]["latent"] = "four"
    with pytest.raises(ConfigError, match=r"trial\.models\[0\]\.latent"):
        from_data(data)


def test_a_device_that_is_not_there_is_refused_by_name():
    assert pick_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="cuda:99"):
        pick_device("cuda:99")


def test_a_snapshot_is_readable_by_others(bench, tmp_path):
    report = next(run_trial(config(), bench=bench))
    report.snapshot.save(tmp_path / "snap")
    mode = next((tmp_path / "snap").glob("*.safetensors")).stat().st_mode & 0o777
    probe = Path(tmp_path / "probe")
    probe.touch()
    assert mode == probe.stat().st_mode & 0o777


def test_opening_builds_one_member_for_each_model(bench):
    trial = Trial.open(config(**POOL), bench)
    assert len(trial.practice.population.members) == 2


ENOUGH = {"tasks": BlobSource(query=5), "budget": Budget(gradients=120, reports=1)}


@pytest.mark.parametrize("family", [VAE(latent=4, net=NET), GAN(latent=4, net=NET)])
def test_every_score_that_a_family_has_can_be_watched_and_those_it_has_not_are_left_out(
    bench, family
):
    also = tuple(kind() for name, kind in SCORES.items() if name != "mmd")
    (last,) = run_trial(config(models=(family,), also=also, **ENOUGH), bench=bench)
    watched = {name.partition("/")[2] for name in last.scalars if name.startswith("score/")}
    ends = {"real", "floor"}  # of the scale of the score that ranks
    assert watched == {s.name for s in also if not lacks(family, s.asks)} | ends
    assert ("nll" in watched) is isinstance(family, LikelihoodModel)
    assert all(np.isfinite(v) for v in last.scalars.values())
    assert last.scalars["score/cost"] == BlobSource().shot * INNER.steps * len(family.turns)


@pytest.mark.parametrize("name", [n for n in SCORES if not lacks(VAE(), SCORES[n]().asks)])
def test_any_score_that_a_family_can_be_given_may_rank(bench, name):
    (last,) = run_trial(config(score=SCORES[name](), **ENOUGH), bench=bench)
    assert last.final and np.isfinite([last.score, last.low, last.high, last.before]).all()


@pytest.mark.parametrize("condition", ["slots", "sets"])
@pytest.mark.parametrize("labelled", [0.0, 0.2, 1.0])
def test_a_conditional_trial_has_a_score_however_few_labels_it_sees(
    tmp_path, monkeypatch, condition, labelled
):
    monkeypatch.setattr("metasearch.trial.loop.cached_features", random_features)
    source = Arrays(path=str(blobs_file(tmp_path / "x.npz")), size=8, shot=5, query=4, leaks="keep")
    tasks = Conditional(source=source, classes=2, labelled=labelled)
    family = CGAN(latent=4, net=NET, classes=2, embedding=4, condition=condition)
    (last,) = run_trial(
        config(tasks=tasks, models=(family,), budget=Budget(gradients=240, reports=1))
    )
    assert last.final and np.isfinite([last.score, last.low, last.high, last.before]).all()
    assert last.scalars["tasks/non_finite"] == 0
    assert all(np.isfinite(v) for v in last.scalars.values())


def test_watching_changes_no_score(bench):
    (alone,) = run_trial(config(**ENOUGH), bench=bench)
    also = (SCORES["copying"](), SCORES["nll"]())
    (watched,) = run_trial(config(also=also, **ENOUGH), bench=bench)
    assert watched.per_task == alone.per_task and watched.before == alone.before


def test_reports_tell_the_ends_of_the_scale_and_compute_them_once(bench, monkeypatch):
    from metasearch.trial import anchors

    fits = []
    real = anchors.beta_bernoulli
    monkeypatch.setattr(anchors, "beta_bernoulli", lambda *a, **k: fits.append(1) or real(*a, **k))
    fresh = dataclasses.replace(bench, known={})
    one, *_ = run_trial(config(seed=1), bench=fresh)
    *_, two = run_trial(config(seed=2), bench=fresh)
    assert fits == [1]
    ends = [{k: r.scalars[f"score/{k}"] for k in ("real", "floor")} for r in (one, two)]
    assert ends[0] == ends[1]
    assert ends[0]["real"] < 10 < ends[0]["floor"]
    (nats,) = run_trial(config(score=SCORES["nll"](), **ENOUGH), bench=fresh)
    assert "score/real" not in nats.scalars and nats.scalars["score/floor"] > 0
    (costs,) = run_trial(config(score=SCORES["cost"](), **ENOUGH), bench=fresh)
    assert not {"score/real", "score/floor"} & set(costs.scalars)
