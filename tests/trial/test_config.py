"""What cannot be run is told before anything runs, with its place."""

from __future__ import annotations

import pytest
import torch

from metasearch.errors import ConfigError
from metasearch.registry import Schema
from metasearch.trial.config import TrialConfig, problems
from tests.small import config, trial

BARE = {"name": "vae", "net": {"name": "mlp", "hidden": 4}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": [{"name": "vae", "latent": 0}]}, r"models\[0\]\.latent: .*at least 1, got 0"),
        ({"models": [{"name": "vae", "beta": -1}]}, r"models\[0\]\.beta: .*at least 0, got -1"),
        ({"models": [{"name": "vae", "objective": "seed_literal", "beta": 2}]}, r"beta and warmup weigh"),
        ({"algorithms": [{"name": "joint", "inner": {"optimizer": "adam", "momentum": 0.5}}]},
         "momentum is of optimizer: sgd; adam has its own"),
        ({"models": [{"name": "gan", "latent": -2}]}, r"models\[0\]\.latent: .*at least 1"),
        ({"models": [{"name": "gan", "critic_steps": 0}]}, r"critic_steps must be at least 1"),
        ({"models": [{"name": "gan", "objective": {"name": "wasserstein", "penalty": -1}}]},
         r"objective\.penalty: penalty must be at least 0"),
        ({"models": [{"name": "vae", "net": {"name": "conv", "width": 0}}]}, "net.width: width must"),
        ({"models": [{"name": "vae", "net": {"name": "mlp", "hidden": 0}}]}, "net.hidden: hidden"),
        ({"models": [{"name": "vae", "net": {"name": "mlp", "depth": -1}}]}, "net.depth: depth"),
        ({"budget": {"gradients": 0}}, "budget.gradients: gradients must be at least 1, got 0"),
        ({"budget": {"reports": 0}}, "budget.reports: reports must be at least 1"),
        ({"budget": {"tasks_per_step": 0}}, "budget.tasks_per_step: tasks_per_step must"),
        ({"outer": {"lr": -0.1}}, "outer.lr: lr must be at least 0, got -0.1"),
        ({"outer": {"beta1": 1.0}}, "outer.beta1: beta1 must be at least 0 and below 1, got 1.0"),
        ({"strategy": {"segment": 0}}, "strategy.segment: segment must be at least 1"),
        ({"judging": {"samples": 0}}, "judging.samples: samples must be at least 1"),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        Schema(TrialConfig).build(trial(tmp_path / "x.npz", **changes))


def told(tmp_path, **changes) -> list[tuple]:
    tree = trial(tmp_path / "x.npz", **changes)
    tree["tasks"] |= {"size": changes.pop("size", 30)}
    return list(problems(Schema(TrialConfig).build(tree)))


def test_a_net_that_does_not_suit_the_size_of_the_images_is_told(tmp_path):
    bad = {"name": "vae", "net": {"name": "conv"}}
    ((path, message),) = told(tmp_path, models=[BARE, bad])
    assert path == ("models", 1)
    assert "30x30 does not come out even. Use a size such as 16, 28" in message


def test_an_inner_loop_that_adapts_no_part_of_a_model_is_told(tmp_path):
    loops = [{"name": "reptile", "inner": {"adapts": part}} for part in ("decoder", "film", "all")]
    ((path, message),) = told(tmp_path, models=[BARE], algorithms=loops)
    assert path == ("algorithms", 1, "inner", "adapts")
    assert "'vae' has no part 'film' to adapt" in message


def test_what_can_be_run_has_no_problems_and_asking_draws_nothing(tmp_path):
    recipe = config(tmp_path / "x.npz")
    before = torch.get_rng_state()
    assert list(problems(recipe)) == []
    assert torch.equal(before, torch.get_rng_state())


def test_a_score_that_needs_more_images_than_there_will_be_is_told(tmp_path):
    few = {"tasks": 4, "samples": 3}
    found = told(tmp_path, score={"name": "jsd"}, judging=few, models=[BARE])
    assert found == [(("judging", "samples"), "the score 'jsd' needs at least 4, got 3.")]
    assert told(tmp_path, score={"name": "mmd"}, judging=few, models=[BARE]) == []
    found = told(tmp_path, also=[{"name": "jsd"}], judging=few, models=[BARE])
    assert [path for path, _ in found] == [("judging", "samples")]


def test_pairs_of_images_are_asked_for_only_where_there_are_two(tmp_path):
    outer = [{"name": "maml", "outer": "mmd"}]
    tree = trial(tmp_path / "x.npz", models=[{"name": "gan"}], algorithms=outer)
    for query, said in ((1, [("tasks", "query")]), (2, [])):
        tree["tasks"] |= {"query": query}
        found = problems(Schema(TrialConfig).build(tree))
        assert [path for path, message in found if "outer: mmd compares pairs" in message] == said


def test_a_device_that_exists_nowhere_is_told_and_one_that_may_is_left_to_the_worker(tmp_path):
    ((path, message),) = told(tmp_path, device="gpu", models=[BARE])
    assert path == ("device",)
    assert message == "no device is called 'gpu'; allowed are auto, cpu, cuda, cuda:1 and so on."
    assert told(tmp_path, device="cuda:1", models=[BARE]) == []


PAIRS = {"name": "pairs", "size": 16}
FOLDERS = {"name": "pair_folder", "path": "mine", "size": 16}


def faults(tmp_path, **changes) -> list[tuple]:
    return list(problems(config(tmp_path / "x.npz", **changes)))


def test_a_translator_on_tasks_of_one_domain_is_told_and_so_is_the_other_way_round(tmp_path):
    translator = {"name": "cyclegan"}
    ((path, message),) = faults(tmp_path, models=[translator], score={"name": "mmd"})
    assert path == ("tasks",) and "translates between two. Use 'pairs'" in message
    ((path, message),) = faults(tmp_path, models=[BARE], tasks=PAIRS)
    assert path == ("models", 0) and "'pairs' has two. Use 'cyclegan'" in message
    noisy = {"name": "regime", "kind": {"name": "noisy"}, "source": PAIRS}
    for tasks in (PAIRS, FOLDERS, noisy):
        assert faults(tmp_path, models=[translator], tasks=tasks, score={"name": "mmd"}) == []


def test_the_error_to_the_truth_is_for_translators_where_the_truth_is_known(tmp_path):
    asked = {"models": [{"name": "cyclegan"}], "score": {"name": "paired"}}
    assert faults(tmp_path, tasks=PAIRS, **asked) == []
    assert faults(tmp_path, tasks={**FOLDERS, "paired": True}, **asked) == []
    ((path, message),) = faults(tmp_path, tasks=FOLDERS, **asked)
    assert path == ("tasks",) and "'pair_folder' with paired: true" in message
    found = [message for _, message in faults(tmp_path, models=[BARE], score={"name": "cycle"})]
    assert found == [
        "'vae' does not translate from one domain to another, which the score 'cycle' needs. "
        "Use another model, or another score."
    ]
