"""The recurrent GAN: what its nets write and read, its game, and both engines on every drawing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metasearch.algorithms import MAML, MetaSGD, Reptile
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.engine.batched import formulation
from metasearch.models import RGAN
from metasearch.models.adversarial import Hinge, NonSaturating, Wasserstein
from metasearch.models.base import Learner, cycled, example, noise_per_task
from metasearch.models.discrepancy import energy
from metasearch.models.nets import Conv, Mlp
from metasearch.models.recurrent import Recurrence, StrokeReader, StrokeWindows, StrokeWriter, seen
from metasearch.models.rgan import Canvas, Pen, Rows
from metasearch.rng import Stream, global_torch_draws_from
from metasearch.tasks.base import Episodes
from metasearch.tasks.pen import positions, render
from tests.engine.test_batched import assert_same
from tests.games import adapt

SHAPE = (1, 8, 8)
LENGTH = 8
DRAWINGS = {
    "rows": Rows(),
    "rows read by rows": Rows(critic="rows"),
    "canvas": Canvas(steps=2),
    "strokes": Pen(),
    "strokes in windows": Pen(critic="windows"),
    "strokes as pictures": Pen(critic="net"),
}


def small(draws, **changes):
    return RGAN(latent=4, hidden=8, draws=draws, net=Mlp(hidden=12), **changes)


@pytest.fixture(params=list(DRAWINGS))
def family(request):
    return small(DRAWINGS[request.param])


def learner_of(family, dtype=torch.float32, shape=SHAPE):
    learner = Learner.create(family, shape, Stream(0).at("init"))
    for net in learner.nets.values():
        net.to(dtype)
    return learner


def some(family, n=4, dtype=torch.float32, shape=SHAPE):
    batch = dict(example(family.domains, shape, n, Stream(4), dtype=dtype))
    return {d: x[:, :LENGTH] if d == "t" else x for d, x in batch.items()}


def episodes(family, tasks, shot, query):
    support, asked, none = (some(family, tasks * n, torch.float64) for n in (shot, query, 0))
    return Episodes(tuple(f"g/{i}" for i in range(tasks)), support, asked, none)


def test_the_states_of_a_recurrence_follow_on_each_other():
    """Cut in two, with the state handed over, they are those of the cell one by one."""
    with global_torch_draws_from(Stream(0)):
        net = Recurrence(3, 5)
    inputs = torch.randn(2, 6, 3, generator=Stream(1).torch())
    states = net(inputs)
    assert states.shape == (2, 6, 5)
    state = torch.zeros(2, 5)
    done = (torch.arange(6) + 0.5) / 6
    for step in range(6):
        angles = math.pi * done[step] * torch.tensor([1.0, 2.0, 4.0, 8.0])
        clock = torch.cat([angles.sin(), angles.cos()]).expand(2, -1)
        state = net.cell(torch.cat([inputs[:, step], clock], 1), state)
        torch.testing.assert_close(states[:, step], state)


def test_losses_are_one_per_drawing_finite_and_twice_differentiable(family):
    learner = learner_of(family)
    batch = some(family)
    noise = family.draw(batch, Stream(1))
    for player, nets in family.players.items():
        loss = family.loss(player, learner.nets, batch, noise)
        assert loss.shape == (4,) and loss.isfinite().all()
        own = [p for name, p in learner.parameters().items() if name.split(".")[0] in nets]
        first = torch.autograd.grad(loss.mean(), own, create_graph=True)
        assert all(g.isfinite().all() for g in first)
        total = sum(g.square().sum() for g in first)
        second = torch.autograd.grad(total, own, allow_unused=True)
        assert any(g is not None and g.abs().sum() > 0 for g in second)
        assert all(g is None or g.isfinite().all() for g in second)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 28, 28), (3, 32, 32), (1, 64, 64)], ids=str)
def test_what_is_drawn_has_the_shape_of_the_data(family, shape):
    learner = learner_of(family, shape=shape)
    asked = cycled(some(family, shape=shape), 1, 5)
    out = family.generate(learner.nets, asked, family.draw(asked, Stream(2)))
    if family.draws.key == "t":  # strokes have no colour
        assert torch.equal(out["x"], render(out["t"], shape[1]))
        assert out["t"].shape == asked["t"].shape
        assert out["t"][..., 2].abs().max() <= 1
    else:
        assert out["x"].shape == (5, *shape)
    assert out["x"].abs().max() <= 1


@pytest.mark.parametrize("length", [8, 32, 50])
def test_strokes_may_be_of_any_length(length):
    family = small(Pen(critic="windows"))
    learner = learner_of(family)
    batch = {**some(family), "t": torch.randn(4, length, 3, generator=Stream(0).torch())}
    noise = family.draw(batch, Stream(1))
    assert family.generate(learner.nets, batch, noise)["t"].shape == (4, length, 3)
    assert family.loss("discriminator", learner.nets, batch, noise).isfinite().all()


def test_a_row_does_not_depend_on_the_rows_beside_it(family):
    learner = learner_of(family)
    batch = some(family, 6)
    noise = family.draw(batch, Stream(1))
    for player in family.players:
        whole = family.loss(player, learner.nets, batch, noise)
        part = family.loss(
            player,
            learner.nets,
            {d: x[2:4] for d, x in batch.items()},
            {k: v[2:4] for k, v in noise.items()},
        )
        torch.testing.assert_close(part, whole[2:4], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("objective", [NonSaturating(), NonSaturating(r1=1.0), Wasserstein()])
def test_the_critics_loss_is_the_objectives_on_real_and_drawn(family, objective):
    family = small(family.draws, objective=objective)
    learner = learner_of(family, torch.float64)
    batch = some(family, dtype=torch.float64)
    noise = family.draw(batch, Stream(1))
    drawn = family.generate(learner.nets, batch, noise)[family.draws.key].detach()
    critic = learner.nets["discriminator"]
    if family.draws.key == "t" and family.draws.critic == "net":
        critic = lambda steps: learner.nets["discriminator"](render(steps, 8))  # noqa: E731
    real = batch[family.draws.key]
    mix = noise["mix"].reshape(-1, *[1] * (real.dim() - 1))
    want = objective.critic(critic, real, drawn, mix)
    got = family.loss("discriminator", learner.nets, batch, noise)
    torch.testing.assert_close(got, want)


def test_a_generator_step_raises_the_critics_opinion_of_its_drawings(family):
    learner = learner_of(family)
    batch = some(family, 16)
    noise = family.draw(batch, Stream(1))
    own = list(learner.nets["generator"].parameters())
    before = family.loss("generator", learner.nets, batch, noise).mean()
    grads = torch.autograd.grad(before, own)
    assert all(g.abs().sum() > 0 for g in grads)
    size = sum(g.square().sum() for g in grads).sqrt()
    for p, g in zip(own, grads, strict=True):
        p.data -= 0.02 * g / size
    assert family.loss("generator", learner.nets, batch, noise).mean() < before


def test_the_generator_also_descends_the_energy_distance_that_is_asked_for(family):
    """Of two drawings and a real one, beside what the critic thinks of the first."""
    plain, both = small(family.draws), small(family.draws, energy=3.0, drawings=3)
    learner = learner_of(both, torch.float64)
    batch = some(family, dtype=torch.float64)
    noise = both.draw(batch, Stream(1))
    alone = plain.draw(batch, Stream(1))
    assert all(torch.equal(alone[key], noise[key]) for key in alone)  # nothing else is drawn anew
    key = family.draws.key
    drawn = [
        both.generate(learner.nets, batch, {**noise, "z": z})[key]
        for z in (noise["z"], *noise["again"].unbind(1))
    ]
    assert len(drawn) == 3
    apart = family.draws.apart(torch.stack(drawn, 1), batch[key])
    want = plain.loss("generator", learner.nets, batch, noise) + 3 * apart
    torch.testing.assert_close(both.loss("generator", learner.nets, batch, noise), want)
    one = plain.loss("discriminator", learner.nets, batch, noise)
    torch.testing.assert_close(both.loss("discriminator", learner.nets, batch, noise), one)


def test_strokes_are_apart_as_wholes_and_in_the_place_and_way_of_each_step():
    *drawings, real = (torch.randn(2, 5, 3, generator=Stream(i).torch()).double() for i in range(4))
    drawn, told = torch.stack([seen(x) for x in drawings], 1), seen(real)
    want = energy(drawn, told)
    for part in (slice(0, 2), slice(2, 5)):
        steps = [energy(drawn[:, :, i, part], told[:, i, part]) for i in range(5)]
        want = want + torch.stack(steps).mean(0)
    torch.testing.assert_close(Pen().apart(torch.stack(drawings, 1), real), want)


@pytest.mark.parametrize("size", [0.6, 1.5])
def test_drawings_of_another_size_are_further_apart_than_alike_ones(size):
    """On average over pairs, as the energy distance is least where two distributions are one."""
    real, drawn, again = torch.randn(3, 4000, 6, 3, generator=Stream(0).torch()).mul(0.2).unbind(0)
    both = torch.stack([drawn, again], 1)
    assert Pen().apart(size * both, real).mean() > Pen().apart(both, real).mean()


def test_a_pen_is_up_or_down_and_has_the_slope_of_one_in_between():
    with global_torch_draws_from(Stream(0)):
        net = StrokeWriter(2, 8)
    z = torch.randn(5, 12, 2, generator=Stream(1).torch())
    down = net(z)[..., 2]
    assert set(down.flatten().tolist()) == {-1.0, 1.0}
    soft = torch.tanh(net.pen(net.writer(z)))[..., 2]
    slopes = [torch.autograd.grad(x.sum(), net.pen.weight)[0] for x in (down, soft)]
    torch.testing.assert_close(*slopes)


def test_the_pen_stays_in_the_frame_however_far_its_net_is_driven():
    with global_torch_draws_from(Stream(0)):
        net = StrokeWriter(2, 8)
    net.pen.weight.data *= 1000
    z = torch.randn(5, 12, 2, generator=Stream(1).torch())
    assert positions(net(z)).abs().max() <= 1 + 1e-5
    assert net(z)[..., 2].abs().max() <= 1


def test_the_critic_of_strokes_sees_place_direction_and_pen():
    steps = torch.randn(2, 5, 3, generator=Stream(0).torch())
    told = seen(steps)
    torch.testing.assert_close(told[..., :2], positions(steps))
    torch.testing.assert_close(told[..., 2:4], 8 * steps[..., :2])
    torch.testing.assert_close(told[..., 4], steps[..., 2])


@pytest.mark.parametrize("reader", [StrokeReader, StrokeWindows])
def test_readers_of_strokes_see_their_order(reader):
    with global_torch_draws_from(Stream(0)):
        net = reader(16)
    steps = torch.randn(3, 12, 3, generator=Stream(1).torch())
    assert not torch.allclose(net(steps), net(steps.flip(1)), atol=1e-4)


def test_a_writer_can_learn_a_drawing():
    """The way back through 16 steps of the cell leads to the strokes of one drawing."""
    with global_torch_draws_from(Stream(0)):
        net = StrokeWriter(2, 32)
    angles = torch.linspace(0, 2 * math.pi, 16)
    circle = torch.stack([angles.cos(), angles.sin()], 1) * 0.6
    z = torch.ones(1, 16, 2)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)

    def gap():
        return (positions(net(z))[0] - circle).square().mean()

    before = gap().item()
    for _ in range(150):
        optimizer.zero_grad()
        gap().backward()
        optimizer.step()
    assert gap().item() < 0.02 * before


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_both_engines_agree_on_every_drawing(family, first):
    learner = learner_of(family, torch.float64)
    assert formulation(learner) is not None  # all tasks at once
    inner = InnerLoop(steps=2, lr=0.02)
    assert_same(MAML(inner=inner, first_order=first), learner, episodes(family, 2, 2, 3), 1e-9)


@pytest.mark.parametrize("algorithm", [Reptile, MetaSGD])
def test_both_engines_agree_under_adam_and_learned_rates(family, algorithm):
    learner = learner_of(family, torch.float64)
    optimizer = "adam" if algorithm is Reptile else "sgd"
    inner = InnerLoop(steps=2, lr=0.02, optimizer=optimizer, clip=1.0)
    assert_same(algorithm(inner=inner), learner, episodes(family, 2, 2, 3), 1e-7)


@pytest.mark.parametrize("objective", [Hinge(r1=1.0), Wasserstein()], ids=["r1", "penalty"])
def test_both_engines_agree_where_the_critics_slope_is_penalised(family, objective):
    family = small(family.draws, objective=objective)
    learner = learner_of(family, torch.float64)
    algorithm = MAML(inner=InnerLoop(steps=2, lr=0.02), first_order=True)
    assert_same(algorithm, learner, episodes(family, 2, 2, 3), 1e-9)


def test_an_inner_step_stays_within_its_clip(family):
    learner = learner_of(family, torch.float64)
    batch = some(family, 6, torch.float64)
    noise = noise_per_task(family, Stream(1), ["a", "b"])
    inner = InnerLoop(steps=1, lr=1.0, clip=0.05)
    for engine in (Loop(), Batched()):
        moved = adapt(engine, learner, inner, batch, 2, noise).state(1)
        for player in family.players:
            way = [
                (moved[name] - p.detach()).square().sum()
                for name, p in learner.parameters().items()
                if learner.owner(name) == player
            ]
            assert float(sum(way)) ** 0.5 <= 0.05 * (1 + 1e-6)


def test_conv_critics_see_whole_pictures():
    family = RGAN(latent=4, hidden=8, draws=Canvas(steps=2), net=Conv(width=8))
    learner = learner_of(family, shape=(1, 16, 16))
    kinds = {type(m) for m in learner.nets["discriminator"].modules()}
    assert nn.Conv2d in kinds and nn.GRUCell not in kinds
