"""The harness times what is right, and says of what is wrong that it is wrong."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from benchmarks.engine import byhand, ours
from benchmarks.engine.byhand import NotOffered
from benchmarks.engine.cases import CASES, IMPLEMENTATIONS, QUICK, THROUGHPUT
from benchmarks.engine.cyclegan import CycleGAN
from benchmarks.engine.harness import Implementation, compare, distance
from benchmarks.engine.report import Result, Tables
from benchmarks.engine.work import Case, Work
from metasearch.models.adversarial import NonSaturating, Wasserstein
from metasearch.models.gan import GAN
from metasearch.models.nets import Conv, Mlp
from metasearch.models.vae import VAE

TINY = Case("mlp-vae", VAE(latent=2, net=Mlp(hidden=6)), "fomaml", images=2, side=8, tasks=3)
OF_OURS = [i for i in IMPLEMENTATIONS if i.kind in {"ours", "yardstick"}]
BY_HAND = [i for i in IMPLEMENTATIONS if i.name in {"copies", "functional", "vmap"}]
CONV = Conv(width=8, norm="none")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("benchmarks.engine.harness.LEAST_S", 0.0)


def tiny(**changes) -> Case:
    return dataclasses.replace(TINY, steps=2, **changes)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("method", ["maml", "fomaml", "reptile"])
def test_what_is_written_by_hand_finds_what_our_engines_find(method, optimizer):
    case = tiny(method=method, optimizer=optimizer)
    outcomes = compare(case, [*OF_OURS, *BY_HAND], ours.loop, 1)
    assert {name: o.failed for name, o in outcomes.items() if o.failed} == {}
    timed = {name for name, o in outcomes.items() if o.seconds}
    assert timed == set(outcomes) - ({"copies"} if method == "maml" else set())


@pytest.mark.parametrize(
    ("family", "method"),
    [
        (GAN(latent=3, net=CONV, objective=NonSaturating(r1=0.0)), "maml"),
        (GAN(latent=3, net=CONV), "fomaml"),
        (GAN(latent=3, net=CONV, objective=Wasserstein(), critic_steps=2), "reptile"),
        (CycleGAN(width=2), "fomaml"),
    ],
    ids=["gan", "gan-r1", "wgan-gp", "cyclegan"],
)
def test_games_are_played_alike(family, method):
    case = dataclasses.replace(tiny(), family=family, method=method, side=16, lr=1e-2)
    outcomes = compare(case, [*OF_OURS, *BY_HAND], ours.loop, 1)
    assert {name: o.failed for name, o in outcomes.items() if o.failed} == {}
    assert outcomes["vmap"].seconds


def test_a_wrong_meta_gradient_is_reported_and_not_timed():
    def wrong(work):
        step = ours.loop(work)
        # Off in one player's smallest parameter only, which a norm over everything would hide.
        return lambda: {**step(), "discriminator.0.1.bias": torch.zeros(6)}

    case = dataclasses.replace(tiny(), family=GAN(latent=3, net=Mlp(hidden=6)), lr=1e-2)
    outcome = compare(case, [Implementation("wrong", wrong, "by hand")], ours.loop, 1)["wrong"]
    assert "is off by" in outcome.failed
    assert outcome.error > 1e-3
    assert outcome.error64 > 1e-3
    assert outcome.seconds == []


def test_a_missing_parameter_is_as_wrong_as_can_be():
    work = Work(tiny())
    truth = ours.loop(work)()
    some = dict(list(truth.items())[1:])
    assert distance(work, some, truth) == math.inf


def test_a_meta_gradient_that_is_not_finite_is_wrong():
    work = Work(tiny())
    truth = ours.loop(work)()
    broken = {name: g * math.nan for name, g in truth.items()}
    assert distance(work, broken, truth) == math.inf


def test_what_float32_cannot_tell_is_judged_in_float64():
    def rough(work):
        step, noise = ours.loop(work), 1e-2 if work.case_dtype is torch.float32 else 0.0
        return lambda: {name: g * (1 + noise) for name, g in step().items()}

    def build(work):
        work.case_dtype = next(iter(work.shared.values())).dtype
        return rough(work)

    outcome = compare(tiny(), [Implementation("rough", build, "by hand")], ours.loop, 1)["rough"]
    assert outcome.failed == ""
    assert outcome.error > 1e-3 > outcome.error64
    assert outcome.seconds


def test_a_peer_that_breaks_or_is_not_there_does_not_stop_the_others():
    def breaks(work):
        raise ZeroDivisionError("first line\nsecond line")

    def is_not_there(work):
        raise ModuleNotFoundError("No module named 'peer'")

    def declines(work):
        raise NotOffered("no such idiom")

    implementations = [
        Implementation("breaks", breaks, "packaged"),
        Implementation("absent", is_not_there, "packaged"),
        Implementation("declines", declines, "packaged"),
        Implementation("functional", byhand.functional, "by hand"),
    ]
    found = compare(tiny(), implementations, ours.loop, 1)
    assert found["breaks"].failed == "ZeroDivisionError: first line"
    assert found["absent"].absent == "not installed (No module named 'peer')"
    assert found["declines"].absent == "no such idiom"
    assert found["functional"].seconds


def test_a_reference_that_diverges_is_no_reference():
    with pytest.raises(ArithmeticError, match="mlp-vae/fomaml/sgd/2x8: tasks diverge"):
        compare(tiny(lr=1e30), [], ours.loop, 1)


def test_tables_show_ratios_and_name_what_is_wrong_or_short():
    peer = Implementation("peer", byhand.functional, "packaged")
    wrong = Implementation("wrong", lambda work: dict, "packaged")
    chosen = [*OF_OURS, peer, wrong, *BY_HAND]
    outcomes = compare(tiny(), chosen, ours.loop, 1)
    for outcome in outcomes.values():
        outcome.seconds = [1.0] if outcome.seconds else []
    outcomes["peer"].seconds = [3.0]
    result = Result(tiny(goal=4.0), outcomes, 10.0, 10.0, 20.0)
    tables = Tables(chosen)
    row = tables.row(result)
    assert "3.00*" in row
    assert "FAILED" in row
    assert len(tables.header().splitlines()[1]) == len(row)
    remarks = "\n".join(tables.remarks([result]))
    assert "FAILED mlp-vae/fomaml/sgd/2x8: wrong" in remarks
    assert "3.00x over peer, goal 4.0x" in remarks
    assert "1.00x over vmap, goal 1.2x" in remarks
    assert "plain training" not in remarks


def test_case_names_are_unique_and_the_short_lists_name_cases():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert set(QUICK) <= set(names)
    assert set(THROUGHPUT) <= set(names)
