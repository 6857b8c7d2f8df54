"""The batched engine against the loop: the same numbers, whatever the model, rule or shape."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from metasearch.algorithms import ALGORITHMS, MAML, MetaSGD, Reptile
from metasearch.algorithms.base import MetaStep, inner_losses
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop, first_rates
from metasearch.engine.batched import _formulation, formulation
from metasearch.engine.convlayers import (
    ColumnConv,
    ColumnConvTranspose,
    GroupedConv,
    GroupedConvTranspose,
    TurnedConv,
)
from metasearch.engine.folded import BatchedAdapted
from metasearch.engine.layers import LowRankLinear, Rows, StackedLinear, TaskLayer
from metasearch.engine.memory import tasks_at_once
from metasearch.engine.twins import Maker
from metasearch.errors import ConfigError
from metasearch.models import GAN, MODELS, VAE
from metasearch.models.adversarial import (
    Hinge,
    LeastSquares,
    NonSaturating,
    SeedLiteral,
    Wasserstein,
)
from metasearch.models.base import Learner, noise_per_task
from metasearch.models.flow import FlowMatching, UNet
from metasearch.models.nets import Conv, Mlp
from metasearch.registry import component, revive, to_data
from metasearch.rng import Stream
from metasearch.tasks.base import Episodes
from metasearch.trial.compatibility import misfit
from tests.games import adapt

NETS = {"conv": Conv(width=8, norm="none"), "group": Conv(width=16), "mlp": Mlp(hidden=24, depth=2)}
RULES = {
    "sgd": {"optimizer": "sgd", "clip": 0.0},
    "clipped": {"optimizer": "sgd", "clip": 0.5},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "adam": {"optimizer": "adam"},
    "per_tensor": {"rates": "per_tensor"},
    "per_step": {"rates": "per_step"},
    "per_parameter": {"rates": "per_parameter"},
    "head": {"adapts": "head"},
    "proximal": {"proximal": 0.5},
    "simultaneous": {"play": "simultaneous"},
}

# Adam divides by the root of a mean square: where a gradient is nearly zero, rounding is magnified,
# in its derivative by up to the inverse of its epsilon of 1e-8.
TOLERANCES = {"adam": 1e-7}


def small(made: Any) -> Any:
    """A component with little of everything that has a width."""
    sizes = {"width": 8, "hidden": 24, "reach": 3}
    changes = {}
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        nested = dataclasses.is_dataclass(value)
        changes[field.name] = small(value) if nested else sizes.get(field.name, value)
    return dataclasses.replace(made, **changes)


def families() -> dict[str, Any]:
    """Every family with each of `NETS` that it takes, or a small one of its own."""
    found = {}
    for model in MODELS:
        for net, chosen in NETS.items():
            try:
                made = revive(MODELS, {"name": model, "net": to_data(chosen)}, model)
            except ConfigError:
                found.setdefault(f"{model}-own", small(MODELS[model]()))
            else:
                found[f"{model}-{net}"] = made
    return found


FAMILIES = families()


def build(family, dtype=torch.float64, shape=(1, 16, 16)) -> Learner:
    learner = Learner.create(family, shape, Stream(0).at("init"))
    for net in learner.nets.values():
        net.to(dtype)
    return learner


def draw(tasks, shot, query, dtype=torch.float64, shape=(1, 16, 16), seed=2) -> Episodes:
    make = Stream(seed).at(tasks, shot, query).torch()

    def images(n):
        drawn = {
            domain: torch.rand(tasks * n, *shape, generator=make, dtype=torch.float64) * 2 - 1
            for domain in ("x", "a", "b")
        }
        return {d: x.to(dtype) for d, x in drawn.items()} | {"y": torch.arange(tasks * n) % 2}

    return Episodes(tuple(f"g/{i}" for i in range(tasks)), images(shot), images(query), images(0))


def both(algorithm, learner, episodes):
    """The meta-gradients of the loop and of the batched engine, rates included."""
    noise = noise_per_task(learner.family, Stream(1), episodes.tasks)
    found = []
    for engine in (Loop(), Batched()):
        rates = first_rates(learner, algorithm.inner)
        step = MetaStep(engine, learner, rates, progress=0.5)
        found.append(algorithm.meta_gradient(step, episodes, noise))
    return found


def assert_same(algorithm, learner, episodes, tolerance):
    loop, batched = both(algorithm, learner, episodes)
    assert loop.gradients == batched.gradients
    for one, two in ((loop.values, batched.values), (loop.rates, batched.rates)):
        assert set(one) == set(two)
        size = sum(float(g.square().sum()) for g in one.values()) ** 0.5
        gap = sum(float((one[k] - two[k]).square().sum()) for k in one) ** 0.5
        assert gap <= tolerance * size + 1e-14, (gap, size)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_batched_equals_the_loop_in_double_precision(name, family, rule):
    inner = InnerLoop(steps=2, lr=0.01, **RULES[rule])
    algorithm = ALGORITHMS[name](inner=inner)
    if reason := misfit(algorithm, family):
        pytest.skip(reason)
    assert_same(algorithm, build(family), draw(2, 2, 3), TOLERANCES.get(rule, 1e-10))


@pytest.mark.parametrize("order", [True, False], ids=["first", "second"])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_batched_equals_the_loop_in_single_precision(family, order):
    algorithm = MAML(inner=InnerLoop(steps=3, lr=0.003), first_order=order)
    assert_same(algorithm, build(family, torch.float32), draw(3, 4, 5, torch.float32), 1e-5)


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_rates_that_fall_do_so_in_both_engines(schedule, optimizer, first_order):
    inner = InnerLoop(steps=3, lr=0.01, optimizer=optimizer, schedule=schedule)
    family = GAN(latent=5, net=NETS["mlp"], critic_steps=2)
    chosen = MAML(inner=inner, first_order=first_order)
    assert_same(chosen, build(family), draw(2, 2, 3), TOLERANCES.get(optimizer, 1e-10))
    steady = MAML(inner=dataclasses.replace(inner, schedule="constant"), first_order=first_order)
    one, two = (both(a, build(family), draw(2, 2, 3))[1].values for a in (chosen, steady))
    assert any(not torch.allclose(one[name], two[name]) for name in one)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("algorithm", [MAML, Reptile, MetaSGD])
def test_a_gradient_penalty_is_differentiated_through_its_second_use_of_the_weights(algorithm, net):
    family = GAN(latent=5, net=NETS[net], objective=Wasserstein(), critic_steps=2)
    settings_ = {} if algorithm is Reptile else {"first_order": True}
    chosen = algorithm(inner=InnerLoop(steps=2, lr=0.01), **settings_)
    assert not misfit(chosen, family)
    assert_same(chosen, build(family), draw(2, 3, 3), 1e-10)


STRUCTURES = {
    "attentive": Conv(width=8, smallest=4, attention=True, upsample="nearest", norm="instance"),
    "deep": Conv(width=4, depth=1, norm="layer", activation="prelu"),
    "bent": Mlp(hidden=24, depth=2, norm="layer", activation="leaky_relu"),
}


@pytest.mark.parametrize("rule", ["sgd", "adam", "per_parameter", "head"])
@pytest.mark.parametrize("net", STRUCTURES)
def test_every_structure_of_the_nets_has_twins(net, rule):
    family = GAN(latent=3, net=STRUCTURES[net], objective=Hinge(), spectral=True)
    learner = build(family)
    for name, p in learner.parameters().items():  # attention starts at zero, where all agree
        if ".out." in name:
            p.data = 0.1 * torch.ones_like(p)
    assert formulation(learner) is not None
    chosen = MAML(inner=InnerLoop(steps=2, lr=0.01, **RULES[rule]), first_order=True)
    assert_same(chosen, learner, draw(2, 2, 3), TOLERANCES.get(rule, 1e-10))


@pytest.mark.parametrize("first_order", [True, False])
def test_every_structure_of_a_net_of_velocities_has_twins(first_order):
    net = UNet(width=8, depth=1, norm="layer", attention=True, upsample="nearest")
    learner = build(FlowMatching(net=net))
    for name, p in learner.parameters().items():  # attention starts at zero, where all agree
        if ".out." in name:
            p.data = 0.1 * torch.ones_like(p)
    assert formulation(learner) is not None
    chosen = MAML(inner=InnerLoop(steps=2, lr=0.01), first_order=first_order)
    assert_same(chosen, learner, draw(2, 2, 3), 1e-10)


@pytest.mark.parametrize("adapts", ["code", "all", "head", "film"])
@pytest.mark.parametrize(
    "net",
    [Mlp(hidden=24, norm="layer", code=4), Conv(width=8, norm="group", code=2)],
    ids=["mlp", "conv"],
)
def test_a_code_that_decoders_hear_has_a_twin(net, adapts):
    learner = build(VAE(latent=3, net=net))
    assert formulation(learner) is not None
    inner = InnerLoop(steps=3, lr=0.05, adapts=adapts)
    for chosen in (MAML(inner=inner), Reptile(inner=inner), ALGORITHMS["joint"](inner=inner)):
        assert_same(chosen, learner, draw(3, 2, 3), 1e-10)


@pytest.mark.parametrize("objective", [
    Hinge(r1=0), LeastSquares(), Hinge(r1=1e-3), NonSaturating(r1=1e-4), SeedLiteral(),
    Wasserstein(gp_axis="channel_figr", penalty=1e-3),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("algorithm", [MAML, Reptile])
def test_every_objective_agrees_however_little_its_penalty_weighs(algorithm, objective):
    family = GAN(latent=3, net=Mlp(hidden=24, depth=2), objective=objective)
    settings_ = {} if algorithm is Reptile else {"first_order": True}
    chosen = algorithm(inner=InnerLoop(steps=2, lr=0.01), **settings_)
    assert_same(chosen, build(family), draw(2, 3, 3), 1e-10)


@given(
    tasks=st.integers(1, 4),
    shot=st.integers(1, 4),
    query=st.integers(1, 4),
    steps=st.integers(0, 4),
    hidden=st.integers(1, 40),
    side=st.sampled_from([12, 16, 20]),
    first=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_shapes_shots_and_steps_make_no_difference(tasks, shot, query, steps, hidden, side, first):
    shape = (1, side, side)
    learner = build(VAE(latent=3, net=Mlp(hidden=hidden)), shape=shape)
    algorithm = MAML(inner=InnerLoop(steps=steps, lr=0.01), first_order=first)
    assert_same(algorithm, learner, draw(tasks, shot, query, shape=shape), 1e-10)


def test_multi_step_losses_agree_and_differ_from_the_last_steps_alone():
    learner, episodes = build(VAE(latent=3, net=Mlp(hidden=12))), draw(2, 3, 3)
    inner = InnerLoop(steps=3, lr=0.05, rates="per_step")
    many = MAML(inner=inner, multi_step=0.6)
    assert_same(many, learner, episodes, 1e-10)
    one = both(MAML(inner=inner), learner, episodes)[0].values
    other = both(many, learner, episodes)[0].values
    assert any(not torch.allclose(one[k], other[k]) for k in one)


def test_meta_sgds_gradient_of_the_rates_is_the_product_of_gradients():
    """Method's A8, in logarithms: d L / d log a = -a g(theta; S) (.) grad L(phi; Q) for one step."""
    learner, episodes = build(VAE(latent=3, net=Mlp(hidden=8))), draw(1, 3, 3)
    family = learner.family
    noise = noise_per_task(family, Stream(1), episodes.tasks)
    algorithm = MetaSGD(inner=InnerLoop(steps=1, lr=0.01, clip=0), first_order=True)
    found = both(algorithm, learner, episodes)
    still = Loop().open(learner, 1, InnerLoop(steps=0))
    loss = family.loss("vae", still.nets, episodes.support, noise(episodes.support, "inner", 0, 0))
    at_start = still.meta_gradient({"vae": loss}, 1).values
    moved = adapt(Loop(), learner, InnerLoop(steps=1, lr=0.01, clip=0), episodes.support, 1, noise)
    query = family.loss("vae", moved.nets, episodes.query, noise(episodes.query, "outer", "vae"))
    at_end = moved.meta_gradient({"vae": query}, 1).values
    for name, rate in found[0].rates.items():
        torch.testing.assert_close(rate, -0.01 * at_start[name] * at_end[name])
        torch.testing.assert_close(found[1].rates[name], rate)


@pytest.mark.parametrize("engine", [Loop(), Batched()], ids=["loop", "batched"])
@pytest.mark.parametrize("part", ["head", "decoder", "film"])
def test_what_does_not_adapt_stays_bit_for_bit(engine, part):
    learner, episodes = build(VAE(latent=3, net=NETS["group"])), draw(2, 3, 3)
    noise = noise_per_task(learner.family, Stream(1), episodes.tasks)
    inner = InnerLoop(steps=3, lr=0.05, adapts=part)
    adapted = adapt(engine, learner, inner, episodes.support, 2, noise)
    moving = learner.adapting(part)
    assert moving < set(learner.parameters())
    for name, value in adapted.state(1).items():
        assert torch.equal(value, learner.parameters()[name]) == (name not in moving), name


def test_a_task_alone_and_among_others_adapts_alike():
    learner, episodes = build(GAN(latent=4, net=NETS["mlp"])), draw(3, 3, 3)
    inner = InnerLoop(steps=3, lr=0.05)
    alone, among = (
        adapt(
            Batched(),
            learner,
            inner,
            part.support,
            len(part.tasks),
            noise_per_task(learner.family, Stream(1), part.tasks),
        ).state(len(part.tasks) - 1)
        for part in (episodes.select([2]), episodes)
    )
    assert all(torch.allclose(alone[k], among[k], rtol=1e-10) for k in alone)


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("net", NETS)
def test_adapting_leaves_the_meta_parameters_alone(net, tasks):
    learner, episodes = build(VAE(latent=3, net=NETS[net])), draw(tasks, 3, 3)
    before = {k: v.detach().clone() for k, v in learner.parameters().items()}
    noise = noise_per_task(learner.family, Stream(1), episodes.tasks)
    for optimizer in ("sgd", "adam"):
        inner = InnerLoop(steps=2, lr=0.1, optimizer=optimizer)
        adapt(Batched(), learner, inner, episodes.support, tasks, noise)
    assert all(torch.equal(v, before[k]) for k, v in learner.parameters().items())


def test_wide_layers_are_low_rank_under_sgd_and_stacked_under_adam():
    learner = build(VAE(latent=8, net=Mlp(hidden=128)))
    kinds = {}
    for optimizer in ("sgd", "adam"):
        inner = InnerLoop(steps=2, optimizer=optimizer)
        adapted = Batched().open(learner, 2, inner)
        assert isinstance(adapted, BatchedAdapted)
        layers = [m for net in adapted.nets.values() for m in net.modules()]
        kinds[optimizer] = {type(m) for m in layers if isinstance(m, TaskLayer)}
    assert LowRankLinear in kinds["sgd"]
    assert kinds["adam"] == {StackedLinear}


class Attention(nn.Module):
    """Attention over the rows of an image, with a weight of its own: unknown to the engine."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, width))
        self.key = nn.Linear(width, width)
        self.out = nn.Linear(width, out)

    def forward(self, x):
        rows = x.flatten(1, 2)
        weights = torch.softmax(self.key(rows) @ self.query.T, 1)
        return self.out((weights * rows).sum(1))


class Reaching(nn.Module):
    """Uses a layer's weight itself instead of calling the layer."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.inside = nn.Linear(width * width, out)

    def forward(self, x):
        return x.flatten(1) @ self.inside.weight.T


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.flat, self.one, self.two = nn.Flatten(), nn.Linear(width**2, width**2), nn.Linear(1, 1)
        self.two = nn.Linear(width**2, width**2)
        self.two.weight = self.one.weight
        self.out = nn.Linear(width**2, out)

    def forward(self, x):
        return self.out(self.two(self.one(self.flat(x))))


@component
class Odd(VAE):
    """A VAE with an encoder that somebody wrote."""

    kind: str = "attention"

    def build(self, shape):
        encoder = {"attention": Attention, "reaching": Reaching, "tied": Tied}[self.kind]
        return {**VAE.build(self, shape), "encoder": encoder(shape[1], 2 * self.latent)}


@pytest.mark.parametrize("kind", ["attention", "reaching", "tied"])
def test_layers_that_are_not_known_run_on_the_loop_with_one_line_of_notice(kind, caplog):
    family = Odd(latent=3, net=Mlp(hidden=8), kind=kind)
    learner, episodes = build(family), draw(2, 3, 3)
    with caplog.at_level(logging.WARNING, "metasearch"):
        for _ in range(2):
            assert formulation(learner) is None
            assert_same(MAML(inner=InnerLoop(steps=2)), learner, episodes, 0)
    assert len([r for r in caplog.records if "loop" in r.message]) <= 1


class Mixed(nn.Module):
    """An encoder of every other layer there is a twin of."""

    def __init__(self, side: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.InstanceNorm2d(4, affine=True)
        self.table = nn.Embedding(5, 4)
        self.row = nn.Linear(4 * side, 6)
        self.layer = nn.LayerNorm(6)
        self.cell = nn.GRUCell(6, 7)
        self.out = nn.Linear(7, out)

    def forward(self, x):
        h = self.norm(self.conv(x))
        level = ((x.mean((1, 2, 3)) + 1) * 2).long().clamp(0, 4)
        h = h * self.table(level)[:, :, None, None]
        state = None
        for row in h.permute(2, 0, 1, 3).flatten(2)[:3]:
            state = self.cell(self.layer(self.row(row)), state)
        return self.out(state)


@component
class Assorted(VAE):
    """A VAE whose encoder has normalisations, an embedding and a recurrent cell."""

    def build(self, shape):
        return {**VAE.build(self, shape), "encoder": Mixed(shape[1], 2 * self.latent)}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (nn.Conv2d(8, 9, 4, 2, 1), GroupedConv),
        (nn.ConvTranspose2d(9, 8, 4, 2, 1, bias=False), GroupedConvTranspose),
        (nn.Conv2d(1, 9, 5, 3, 2), ColumnConv),
        (nn.Conv2d(9, 2, 3, 2, bias=False), ColumnConv),
        (nn.Conv2d(9, 1, 3, 1, 1), TurnedConv),
        (nn.Conv2d(8, 3, 4, 1, 0, bias=False), TurnedConv),
        (nn.Conv2d(8, 1, 1, 1, 1), ColumnConv),
        (nn.ConvTranspose2d(9, 2, 3, 2, 1), ColumnConvTranspose),
    ],
    ids=str,
)
def test_each_convolution_has_a_twin_that_convolves_alike_to_second_order(source, kind):
    source = source.double()
    make = Maker(3, 2, InnerLoop(), frozenset({"net.weight"}), low_rank=True)
    twin = make(source, "net.")
    assert type(twin) is kind
    draws = Stream(4).at("images").torch()
    x = torch.randn(6, source.in_channels, 7, 7, generator=draws, dtype=torch.float64)
    twin.fast = {
        name: torch.randn(3, *p.shape, generator=draws, dtype=torch.float64, requires_grad=True)
        for name, p in source.named_parameters()
    }
    own = [{name: w[task] for name, w in twin.fast.items()} for task in range(3)]
    expected = torch.cat(
        [functional_call(source, w, y) for w, y in zip(own, x.chunk(3), strict=True)]
    )
    answer, seconds = twin(x), []
    torch.testing.assert_close(answer, expected)
    for y in (answer, expected):
        first = torch.autograd.grad(y.tanh().sum(), list(twin.fast.values()), create_graph=True)
        bent = torch.stack([g.square().sum() for g in first]).sum()
        seconds.append(torch.autograd.grad(bent, list(twin.fast.values())))
    torch.testing.assert_close(seconds[0], seconds[1])


@pytest.mark.parametrize("rule", ["sgd", "adam", "per_parameter"])
def test_norms_embeddings_and_recurrent_cells_have_twins(rule):
    learner = build(Assorted(latent=3, net=Mlp(hidden=8)))
    assert formulation(learner) is not None
    inner = InnerLoop(steps=2, lr=0.01, **RULES[rule])
    assert_same(MAML(inner=inner), learner, draw(2, 3, 3), 1e-9)


@pytest.mark.parametrize("engine", [Loop, Batched])
@pytest.mark.parametrize("first_order", [True, False])
def test_a_meta_batch_in_parts_is_the_same(engine, first_order, monkeypatch):
    sizes = []

    def small(*args):
        sizes.append(args[4])
        return 2

    learner, episodes = build(GAN(latent=4, net=NETS["mlp"])), draw(5, 3, 3)
    noise = noise_per_task(learner.family, Stream(1), episodes.tasks)
    algorithm = MAML(inner=InnerLoop(steps=2, lr=0.01), first_order=first_order)
    whole = algorithm.meta_gradient(MetaStep(engine(), learner), episodes, noise)
    monkeypatch.setattr("metasearch.algorithms.base.tasks_at_once", small)
    parts = algorithm.meta_gradient(MetaStep(engine(), learner), episodes, noise)
    assert sizes == [5]
    assert parts.gradients == whole.gradients
    assert parts.finite.shape == whole.finite.shape
    for name, value in whole.values.items():
        torch.testing.assert_close(parts.values[name], value, rtol=1e-6, atol=1e-12)


def test_less_memory_means_fewer_tasks_at_once_and_never_none():
    learner, episodes = build(VAE(net=NETS["group"]), torch.float32), draw(16, 5, 5, torch.float32)
    inner = InnerLoop(steps=5)
    sizes = [
        tasks_at_once(learner, inner, order, episodes.support, 16, megabytes * 2**20)
        for order in (1, 2)
        for megabytes in (1000, 40, 0)
    ]
    assert sizes[0] == sizes[3] == 16
    assert sizes[2] == sizes[5] == 1
    assert 1 < sizes[4] < sizes[1] <= 16


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), times=st.integers(1, 4))
def test_rows_that_grow_are_the_rows_that_were_added(sizes, times):
    rows, parts = Rows(times), []
    for size in sizes:
        parts.append(torch.full((2, size, 3), float(len(parts))))
        rows.append(parts[-1], keep=False)
        assert torch.equal(rows.all, torch.cat(parts, 1))


def test_a_device_that_cannot_do_it_gets_the_loop_and_says_why(caplog, monkeypatch):
    real = BatchedAdapted.play

    def lacking(self, losses):
        if next(iter(losses.values())).dtype is torch.float32:
            raise NotImplementedError("no such operation on this device")
        real(self, losses)

    monkeypatch.setattr(BatchedAdapted, "play", lacking)
    family = VAE(latent=3, net=Mlp(hidden=9))
    with caplog.at_level(logging.WARNING, "metasearch"):
        assert _formulation(family, (1, 8, 8), "cpu") == "low_rank"
        assert _formulation(family, (1, 8, 8), "cpu:0") is None
    assert "no such operation on this device" in caplog.text


class Asking(TorchDispatchMode):
    """Notes what would make a GPU's host wait for an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in {"_local_scalar_dense", "nonzero", "masked_select"}:
            self.asked.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("rule", RULES)
def test_inner_steps_ask_for_no_number(rule, order):
    learner, episodes = build(GAN(latent=4, net=NETS["conv"])), draw(2, 3, 3)
    noise = noise_per_task(learner.family, Stream(1), episodes.tasks)
    inner = InnerLoop(steps=2, lr=0.01, **RULES[rule])
    rates = first_rates(learner, inner)
    adapted = Batched().open(learner, 2, inner, order=order, rates=rates)
    assert isinstance(adapted, BatchedAdapted)
    with Asking() as mode:
        inner_losses(adapted, inner, episodes.support, noise)
    assert mode.asked == []


def test_a_question_would_be_noticed():
    with Asking() as mode:
        assert bool(torch.ones(()) > 0)
    assert mode.asked == ["aten._local_scalar_dense.default"]


class Operations(TorchDispatchMode):
    """Notes every operation, forward and backward, and the shapes of what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, list[torch.Size]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        parts = made if isinstance(made, (tuple, list)) else [made]
        self.done.append((str(func), [x.shape for x in parts if isinstance(x, torch.Tensor)]))
        return made


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("net", NETS)
def test_no_operation_and_no_shape_depends_on_the_data(net, order):
    """What a CUDA graph, which replays a sequence of kernels with fixed shapes, would need."""
    learner = build(GAN(latent=4, net=NETS[net]))
    algorithm = MAML(inner=InnerLoop(steps=3, lr=0.01, clip=0.5), first_order=order == 1)
    seen = []
    for seed in (0, 1, 2):  # the first tries what is tried once per family
        episodes = draw(3, 4, 4, seed=seed)
        noise = noise_per_task(learner.family, Stream(seed), episodes.tasks)
        with Operations() as mode:
            algorithm.meta_gradient(MetaStep(Batched(), learner), episodes, noise)
        seen.append(mode.done)
    assert len(seen[1]) > 100
    assert seen[1] == seen[2]


@pytest.mark.parametrize("depth", [1, 3])
def test_a_meta_step_asks_no_question_per_parameter(depth):
    learner = build(VAE(latent=3, net=Mlp(hidden=9, depth=depth)))
    episodes = draw(2, 3, 3)
    noise = noise_per_task(learner.family, Stream(1), episodes.tasks)
    step = MetaStep(Batched(), learner)
    algorithm = MAML(inner=InnerLoop(steps=2, lr=0.01), first_order=True)
    algorithm.meta_gradient(step, episodes, noise)  # what is tried once per family, is tried
    with Asking() as mode:
        algorithm.meta_gradient(step, episodes, noise)
    # How many tasks are finite, which, and whether their mean is.
    assert len(mode.asked) == 3
