"""What is multiplied in which precision: asked for, kept to meta-training, put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from metasearch.algorithms import MAML
from metasearch.algorithms.base import MetaStep
from metasearch.engine import ENGINES, Batched
from metasearch.engine.base import InnerLoop
from metasearch.models import GAN, VAE
from metasearch.models.adversarial import NonSaturating
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.nets import Conv, Mlp
from metasearch.rng import Stream
from metasearch.tasks.base import Episodes
from metasearch.trial import loop
from metasearch.trial.judge import to_device
from metasearch.trial.loop import Trial
from metasearch.trial.precision import multiplying
from tests.trial.test_loop import bench, config

__all__ = ["bench"]  # a fixture

FLAGS = (torch.backends.cuda.matmul, torch.backends.cudnn)


def rounding() -> tuple[bool, ...]:
    """TF32 in products, in convolutions; bf16."""
    return (*(bool(f.allow_tf32) for f in FLAGS), torch.is_autocast_enabled("cpu"))


@pytest.fixture(params=[False, True], ids=["off outside", "on outside"])
def outside(request) -> Iterator[bool]:
    """Whether TF32 is on before anything is asked for."""
    before = [f.allow_tf32 for f in FLAGS]
    for f in FLAGS:
        f.allow_tf32 = request.param
    yield request.param
    for f, value in zip(FLAGS, before, strict=True):
        f.allow_tf32 = value


@pytest.mark.parametrize(
    ("precision", "inside"),
    [
        ("float32", (False, False, False)),
        ("tf32", (True, True, False)),
        ("bf16", (False, False, True)),
    ],
)
def test_a_precision_holds_inside_and_what_was_set_before_holds_again_after(
    outside, precision, inside
):
    def fail() -> None:
        with multiplying(precision, "cpu"):
            assert rounding() == inside
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert rounding() == (outside, outside, False)


def draw(tasks: int, rows: int) -> Episodes:
    make = Stream(2).at(tasks, rows).torch()
    x = {"x": torch.rand(tasks * rows, 1, 16, 16, generator=make) * 2 - 1}
    return Episodes(tuple(f"g/{i}" for i in range(tasks)), x, x, x)


FAMILIES = {
    "low rank": VAE(latent=4, net=Mlp(hidden=128)),
    "grouped": VAE(latent=4, net=Conv(width=8, norm="group")),
    "penalty": GAN(latent=4, net=Conv(width=8, norm="none"), objective=NonSaturating(r1=0.1)),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_bf16_rounds_products_and_leaves_meta_gradients_in_float32(family, engine, optimizer):
    learner = Learner.create(family, (1, 16, 16), Stream(0).at("init"))
    episodes = draw(3, 4)
    noise = noise_per_task(family, Stream(1), episodes.tasks)
    inner = InnerLoop(steps=3, lr=1e-3, optimizer=optimizer)
    step = MetaStep(ENGINES[engine](), learner)
    found = {}
    for precision in ("float32", "bf16"):
        with multiplying(precision, "cpu"):
            algorithm = MAML(inner=inner, first_order=True)
            found[precision] = algorithm.meta_gradient(step, episodes, noise).values
    size = sum(float(g.square().sum()) for g in found["float32"].values()) ** 0.5
    apart = {name: found["bf16"][name] - g for name, g in found["float32"].items()}
    gap = sum(float(g.square().sum()) for g in apart.values()) ** 0.5
    assert all(g.dtype is torch.float32 for g in found["bf16"].values())
    assert 1e-6 < gap / size < 0.03  # a rounding to 8 bits is off by at most 0.4 %, a few in a row


def test_a_trial_meta_trains_in_its_precision_and_is_judged_in_float32(bench, monkeypatch):
    trial = Trial.open(config(precision="bf16"), bench)
    seen = {}

    def noting(what, real):
        def call(*arguments):
            seen[what] = torch.is_autocast_enabled("cpu")
            return real(*arguments)

        return call

    trial.practice.step = noting("step", trial.practice.step)
    monkeypatch.setattr(loop, "judge", noting("judge", loop.judge))
    trial.advance()
    assert seen == {"step": True, "judge": False}


def test_episodes_go_to_a_gpu_from_pinned_memory_without_holding_the_host_up(monkeypatch):
    went = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: went.append("pinned") or x)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda x, device, *, non_blocking: went.append(non_blocking) or x
    )
    to_device(draw(2, 2), "cuda:0")
    assert went == ["pinned", True] * 3
    went.clear()
    to_device(draw(2, 2), "mps")
    assert went == [False] * 3


def test_batched_stays_the_engine_of_a_trial_that_names_none():
    assert config().engine == Batched()
    assert config().precision == "float32"
