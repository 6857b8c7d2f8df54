"""A bundle of a family that hears a set: adapted, drawn from, and judged by the protocol."""

from __future__ import annotations

import json

import pytest
import torch

from metasearch.bundle.evaluate import few_shot
from metasearch.bundle.load import load_bundle
from metasearch.bundle.save import save_bundle
from metasearch.cli.app import run
from metasearch.trial.gmn import Protocol
from tests.bundle.conftest import contents_of
from tests.small import config

HEARS = {"name": "setvae", "latent": 4, "features": 8, "net": {"name": "mlp", "hidden": 16}}
STILL = {"name": "joint", "inner": {"steps": 0}}


@pytest.fixture(scope="module")
def heard(file, tmp_path_factory):
    made = contents_of(config(file, models=[HEARS], algorithms=[STILL]))
    return save_bundle(made, tmp_path_factory.mktemp("bundles") / "heard")


def test_what_is_drawn_depends_on_the_images_that_were_given(heard):
    bundle = load_bundle(heard)
    images = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)).numpy()
    one, two = (bundle.adapt(x).sample(5, seed=1) for x in (images, images[:1]))
    assert one.shape == (5, 1, 8, 8) and one.isfinite().all()
    assert not torch.equal(one, two)
    assert torch.equal(one, bundle.adapt(images).sample(5, seed=1))
    turned = bundle.adapt(images[::-1].copy()).sample(5, seed=1)
    torch.testing.assert_close(turned, one, rtol=1e-4, atol=1e-5)


def test_the_protocol_is_told_with_floors_and_stable_keys(heard, capsys):
    asked = ["evaluate", str(heard), "--protocol", "gmn", "--episodes", "12", "--importance", "4"]
    assert run([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        *("protocol", "source", "split", "classes", "episodes", "importance", "binary"),
        *("nats", "floors"),
    }
    assert (told["protocol"], told["episodes"], told["importance"]) == ("gmn", 12, 4)
    assert told["binary"] is False  # grey squares
    for curves in (told["nats"], *told["floors"].values()):
        assert set(curves) == {"with_replacement", "without_replacement"}
        for curve in curves.values():
            assert len(curve) == 10
            assert all(set(at) == {"mean", "low", "high", "diverged"} for at in curve)
    assert told == json.loads(json.dumps(few_shot(load_bundle(heard), Protocol(12, 10, 4))))


def test_the_protocol_prints_a_line_for_each_model_and_sampler(heard, capsys):
    asked = ["evaluate", str(heard), "--protocol", "gmn", "--episodes", "4", "--importance", "2"]
    assert run(asked) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[1].split() == ["images", "drawn", *(f"t={t}" for t in range(10))]
    assert [line.split("  ")[0] for line in lines[2:]] == [
        *("the recipe", "the recipe", "Beta-Bernoulli pixels", "Beta-Bernoulli pixels"),
        *("kernel density", "kernel density", "pixel marginal", "pixel marginal"),
    ]
    assert "cross-entropies" in told.err and "4 episodes of 4 classes" in told.err
