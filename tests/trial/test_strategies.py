"""Every rule in a trial: it trains, resumes in the middle of a segment, and keeps to the budget."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from metasearch.algorithms import MAML, Joint, Reptile
from metasearch.algorithms.mixture import MixtureAdapter
from metasearch.engine.base import InnerLoop
from metasearch.models import AAE, GAN, VAE, VAEGAN, SetVAE
from metasearch.models.nets import Mlp
from metasearch.models.taught import divergence
from metasearch.rng import Stream
from metasearch.scores import SCORES
from metasearch.scores.features import random_features
from metasearch.selectors import SELECTORS
from metasearch.trial.config import Budget, Judging, Strategy, TrialConfig, problems
from metasearch.trial.loop import Bench, Trial, run_trial
from metasearch.trial.population import pull_together, soup
from tests.games import Blobs, BlobSource
from tests.trial.test_loop import told

INNER = InnerLoop(steps=2, lr=0.01)
NET = Mlp(hidden=12)
ALIKE = {"tournament", "soup", "elastic"}


@pytest.fixture(scope="module")
def bench():
    data = Blobs()
    return Bench(data, random_features(data))


def models_for(name):
    if name == "gxd":
        return (GAN(latent=4, net=NET),) * 2
    if name in ALIKE:
        return (VAE(latent=4, net=NET),) * 3
    return VAE(latent=4, net=NET), VAE(latent=6, net=NET), VAE(latent=4, net=Mlp(hidden=8))


def config(*, score="mmd", budget=2400, **axes) -> TrialConfig:
    chosen = {axis: SELECTORS[name]() for axis, name in axes.items()}
    return TrialConfig(
        tasks=BlobSource(),
        models=models_for(axes.get("models", "random")),
        algorithms=(Reptile(inner=INNER), MAML(inner=INNER, first_order=True)),
        strategy=Strategy(**chosen, segment=2, validation=2),
        score=SCORES[score](),
        budget=Budget(gradients=budget, reports=2, tasks_per_step=3),
        judging=Judging(tasks=3, samples=6),
    )


PLACES = [(axis, name) for name in SELECTORS for axis in sorted(SELECTORS[name]().axes)]


@pytest.mark.parametrize(("axis", "name"), PLACES)
def test_every_rule_trains_and_resumes_in_the_middle_of_a_segment(bench, tmp_path, axis, name):
    cfg = config(**{axis: name})
    assert not list(problems(cfg))
    whole = list(run_trial(cfg, bench=bench))
    assert all(np.isfinite(r.score) for r in whole)
    begun = Trial.open(cfg, bench)
    first = begun.advance()
    first.snapshot.save(tmp_path / "snap")
    rest = list(run_trial(cfg, resume=tmp_path / "snap", bench=bench))
    assert told(whole[1:]) == told(rest)


KINDS = {
    "tasks": ("random", "dro", "diverse"),
    "algorithms": ("random", "race", "blend"),
    "models": ("random", "halving", "mixture"),
}


TAUGHT = list(itertools.product(KINDS["tasks"], KINDS["algorithms"], ["mutual"]))


@pytest.mark.parametrize("names", [*itertools.product(*KINDS.values()), *TAUGHT], ids="-".join)
def test_all_kinds_of_strategies_spend_the_same(bench, names):
    budget = 8_000
    cfg = config(budget=budget, **dict(zip(KINDS, names, strict=True)))
    *_, last = run_trial(cfg, bench=bench)
    assert last.cost.gradients == pytest.approx(budget, rel=0.02)


def test_kinds_are_what_they_are_called():
    for axis, names in KINDS.items():
        rules = [SELECTORS[name]() for name in names]
        assert [rule.kind for rule in rules] == ["random", "competitive", "cooperative"]
        assert all(axis in rule.axes for rule in rules)


def test_a_mixture_is_judged_exported_in_parts_and_is_a_mixture_of_likelihoods(bench):
    trial = Trial.open(config(score="nll", models="mixture"), bench)
    report = trial.advance()
    champion = trial.practice.population.champion()
    assert np.isfinite(report.score)
    assert sum(share for _, share in champion.parts) == pytest.approx(1)
    if len(champion.parts) > 1:
        assert isinstance(champion.adapter, MixtureAdapter)
        assert "mixture" in champion.adapter.learner.family.name


def test_members_of_a_soup_start_alike_and_others_do_not(bench):
    def starts(name):
        trial = Trial.open(config(models=name), bench)
        one, two, *_ = [m.learner.parameters() for m in trial.practice.population.members]
        return all(torch.equal(one[k], two[k]) for k in one)

    assert starts("soup")
    assert not starts("tournament")


def test_members_are_pulled_together_by_as_much_as_is_said(bench):
    def members():
        trial = Trial.open(config(models="tournament"), bench)
        return trial.practice.population.members

    def weights(found):
        return [torch.cat([p.detach().flatten() for p in m.named().values()]) for m in found]

    found = members()
    before = weights(found)
    assert not torch.equal(before[0], before[1])
    pull_together(found, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(found), strict=True))
    pull_together(found, 0.25)
    mean = torch.stack(before).mean(0)
    for old, new in zip(before, weights(found), strict=True):
        torch.testing.assert_close(new, old + 0.25 * (mean - old))
    pull_together(found, 1.0)
    for new in weights(found):
        torch.testing.assert_close(new, mean)


def test_a_soup_of_one_member_again_and_again_is_that_member(bench):
    trial = Trial.open(config(models="soup"), bench)
    trial.practice.step(0, 0.0)
    played = max(trial.practice.population.members, key=lambda m: len(m.tensors()))
    merged = soup([played.fork() for _ in range(4)], [0.25] * 4)
    assert all(torch.equal(merged.named()[name], p) for name, p in played.named().items())


def copies(members):
    return [{name: p.detach().clone() for name, p in m.named().items()} for m in members]


def steps(practice, numbers):
    return [practice.step(number, 0.0).gradients for number in numbers]


def taught_by(kappa, **others):
    cfg = config(**others, models="mutual")
    rule = SELECTORS["mutual"](kappa=kappa)
    return dataclasses.replace(cfg, strategy=dataclasses.replace(cfg.strategy, models=rule))


def test_models_that_learn_from_each_other_come_nearer_and_others_do_not(bench):
    images = bench.data.episodes(bench.data.tasks("inner"), shot=3, query=4, rng=Stream(9)).query

    def apart(practice):
        with torch.no_grad():
            made = [
                member.learner.family.reconstruct(member.learner.nets, images)["x"]
                for member in practice.population.members
            ]
        pairs = itertools.permutations(made, 2)
        return float(torch.stack([divergence(a, b).mean() for a, b in pairs]).mean())

    before, after = {}, {}
    for kappa in (0.0, 3.0):
        alone = Trial.open(taught_by(0.0), bench).practice
        steps(alone, range(30))  # apart first, for fresh nets know nothing and agree on it
        before[kappa] = apart(alone)
        alone.config = taught_by(kappa)
        steps(alone, range(30, 90))
        after[kappa] = apart(alone)
    assert before[0.0] == before[3.0]
    assert after[3.0] < before[3.0]
    assert after[3.0] < after[0.0]


def test_models_whose_agreement_counts_nothing_are_independent(bench):
    free, mixed = (
        Trial.open(cfg, bench).practice for cfg in (taught_by(0.0), config(models="mixture"))
    )
    assert steps(free, range(8)) == steps(mixed, range(8))
    for one, other in zip(
        copies(free.population.members), copies(mixed.population.members), strict=True
    ):
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("algorithms", ["random", "race", "blend"])
def test_who_plays_learns_and_whoever_is_asked_is_paid_and_stays_as_it_is(bench, algorithms):
    spent, moved = {}, {}
    for kappa in (0.0, 0.5):
        practice = Trial.open(taught_by(kappa, algorithms=algorithms), bench).practice
        before = copies(practice.population.members)
        spent[kappa] = steps(practice, range(1))[0]
        model = practice.turn.model
        after = copies(practice.population.members)
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            if i != model:
                assert all(torch.equal(old[name], new[name]) for name in old)
        moved[kappa] = copies(practice.turn.lanes[:1])[0]
    images = 3 * (3 + 4)
    assert spent[0.5] - spent[0.0] == 2 * images
    assert any(not torch.equal(moved[0.0][name], moved[0.5][name]) for name in moved[0.0])


def test_families_with_an_encoder_teach_each_other_whatever_else_they_are(bench):
    families = (VAE, AAE, VAEGAN, SetVAE)
    cfg = dataclasses.replace(
        taught_by(0.5), models=tuple(family(latent=4, net=NET) for family in families)
    )
    assert not list(problems(cfg))
    practice = Trial.open(cfg, bench).practice
    before = copies(practice.population.members)
    steps(practice, range(8))  # four turns
    for old, new in zip(before, copies(practice.population.members), strict=True):
        assert any(not torch.equal(old[name], new[name]) for name in old)
        assert all(bool(p.isfinite().all()) for p in new.values())


def test_models_that_make_no_image_of_an_image_cannot_learn_from_each_other():
    cfg = taught_by(0.5)
    found = list(problems(dataclasses.replace(cfg, models=(*cfg.models, GAN(latent=4, net=NET)))))
    assert [path for path, _ in found] == [("models", 3)]
    assert "'gan' makes no image of an image" in found[0][1]
    assert "such as 'vae'" in found[0][1]


def test_a_segment_is_played_by_one_algorithm_and_segments_go_round(bench):
    practice = Trial.open(config(algorithms="random"), bench).practice
    seen = []
    for step in range(12):
        practice.step(step, 0.0)
        (arm,) = practice.turn.choice.arms
        seen.append(arm)
    segments = [seen[i : i + 2] for i in range(0, 12, 2)]
    assert all(one == other for one, other in segments)
    assert sorted(arm for arm, _ in segments) == [0, 0, 0, 1, 1, 1]


def test_every_report_says_who_played_however_long_a_segment_is(bench):
    cfg = config(algorithms="relay", models="mixture", budget=6000)
    cfg = dataclasses.replace(
        cfg,
        strategy=dataclasses.replace(cfg.strategy, segment=20),
        budget=Budget(gradients=6000, reports=6, tasks_per_step=3),
    )
    steps = 0
    for report in run_trial(cfg, bench=bench):
        if report.cost.meta_steps > steps:
            for axis in ("algorithms", "models"):
                told = [v for k, v in report.scalars.items() if f"strategy/{axis}/share/" in k]
                assert sum(told) == pytest.approx(1)
        steps = report.cost.meta_steps
    assert steps > 20


def test_a_rule_on_the_wrong_axis_is_refused():
    cfg = config()
    wrong = dataclasses.replace(
        cfg, strategy=dataclasses.replace(cfg.strategy, tasks=SELECTORS["race"]())
    )
    (found,) = problems(wrong)
    assert found[0] == ("strategy", "tasks")
    assert "'race' chooses among algorithms; for tasks there are random, dro" in found[1]


def test_models_that_differ_cannot_be_averaged_and_a_vae_plays_no_game():
    cfg = config()
    for name, path, what in [
        ("soup", ("models",), "the same settings"),
        ("gxd", ("models",), "the same settings"),
    ]:
        strategy = dataclasses.replace(cfg.strategy, models=SELECTORS[name]())
        found = list(problems(dataclasses.replace(cfg, strategy=strategy)))
        assert found[0][0] == path
        assert what in found[0][1]
    strategy = dataclasses.replace(cfg.strategy, models=SELECTORS["gxd"]())
    alone = dataclasses.replace(cfg, strategy=strategy, models=cfg.models[:1])
    (found,) = problems(alone)
    assert "plays a game of two" in found[1]


@pytest.mark.parametrize("algorithm", [Joint(inner=INNER), Reptile(inner=INNER)])
def test_progress_on_a_task_is_what_the_outer_move_taught(bench, monkeypatch, algorithm):
    def gains(factor):
        cfg = dataclasses.replace(config(tasks="exp3s"), algorithms=(algorithm,))
        practice = Trial.open(cfg, bench).practice
        told = []
        monkeypatch.setattr(
            practice.population, "learn", lambda axis, _, f: told.append((axis, f.before, f.after))
        )
        for member in practice.population.members:
            member.factor = factor
        for step in range(20):
            practice.step(step, 0.0)
        return np.array([before - after for axis, before, after in told if axis == "tasks"])

    assert (gains(0.0) == 0).all()  # nothing was moved: same images, same noise
    assert gains(1.0).mean() > 0
    assert gains(1.0).std() > 0


def test_guidance_by_inner_tasks_is_told_at_every_step_and_paid_for_once_a_segment(
    bench, monkeypatch
):
    cfg = dataclasses.replace(config(tasks="guided"), algorithms=(Joint(inner=INNER),))
    practice = Trial.open(cfg, bench).practice
    assert practice.validation is None  # no rule for algorithms or models looks at scores
    told = []
    monkeypatch.setattr(
        practice.population, "learn", lambda axis, _, f: told.append(f) if axis == "tasks" else None
    )
    spent = [practice.step(step, 0.0).gradients for step in range(4)]
    inner = practice.guide.panel.episodes
    images = sum(len(x["x"]) for x in (inner.support, inner.query))
    assert spent[0] - spent[1] == spent[2] - spent[3] == images
    assert all(f.sketch.shape[1:] == f.common.shape for f in told)
    assert np.array_equal(told[0].common, told[1].common)
    assert not np.array_equal(told[1].common, told[2].common)


def test_the_winner_of_a_race_goes_on_with_its_exact_state(bench):
    trial = Trial.open(config(algorithms="race"), bench)
    practice = trial.practice
    practice.step(0, 0.0)
    practice.step(1, 0.0)
    turn = practice.turn
    after, _ = turn.measure(trial.config.algorithms, practice.validation)
    winner = turn.winner(after)
    weights = {k: v.clone() for k, v in winner.named().items()}
    moments = {k: v.clone() for k, v in winner.tensors().items()}
    practice.close(2)
    member = practice.population.members[turn.model]
    assert all(torch.equal(weights[k], v) for k, v in member.named().items())
    assert all(torch.equal(moments[k], v) for k, v in member.tensors().items())


def test_identical_arms_blend_to_one_arm_bit_for_bit(bench):
    same = (MAML(inner=INNER, first_order=True),)
    alone = dataclasses.replace(config(), algorithms=same, models=models_for("soup")[:1])
    double = dataclasses.replace(
        config(algorithms="blend"), algorithms=same * 2, models=models_for("soup")[:1]
    )
    trials = [Trial.open(cfg, bench) for cfg in (alone, double)]
    for trial in trials:
        for step in range(3):
            trial.practice.step(step, 0.0)
    one, two = (t.practice.population.members[0].learner.parameters() for t in trials)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-7)
