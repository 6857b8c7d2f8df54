"""The loss by hand, and paths that are known: from a Gaussian to a Gaussian."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metasearch.engine.batched import formulation
from metasearch.errors import ConfigError
from metasearch.models.base import Learner
from metasearch.models.flow import TIMES, Dense, FlowMatching, UNet, clock
from metasearch.models.nets import Attention
from metasearch.rng import Stream, global_torch_draws_from

MEAN, SPREAD = 0.2, 0.3  # of the images of the Gaussian toy, in every pixel
SHAPE = (1, 4, 4)


def time_of(told):
    """The time that a clock tells: its slowest hand makes half a turn."""
    half = told.shape[1] // 2
    return torch.atan2(told[:, 0], told[:, half]) / math.pi


def best_velocity(x, told):
    """E[x1 - x0 | x_t = x] for x0 ~ N(0, 1) and x1 ~ N(MEAN, SPREAD^2), pixel by pixel."""
    t = time_of(told).reshape(-1, 1, 1, 1)
    variance = (1 - t) ** 2 + (t * SPREAD) ** 2
    return MEAN + (t * SPREAD**2 - (1 - t)) / variance * (x - t * MEAN)


def starts(n):
    """Noise within three standard deviations, so that no end lies beyond [-1, 1]."""
    x = torch.randn(n, *SHAPE, generator=Stream(1).torch(), dtype=torch.float64).clamp(-2.5, 2.5)
    return {"start": x, "time": torch.zeros(n, dtype=torch.float64)}


def test_a_clock_tells_the_time_and_no_two_times_look_alike():
    t = torch.linspace(0, 0.99, 100, dtype=torch.float64)
    told = clock(t)
    torch.testing.assert_close(time_of(told), t)
    apart = torch.cdist(told, told) + 9 * torch.eye(100)
    assert float(apart.min()) > 0.3


def test_the_loss_is_the_squared_error_of_the_velocity_on_the_straight_path():
    family = FlowMatching()
    x = torch.tensor([0.5, -1.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    start = torch.tensor([-0.5, 2.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    noise = {"start": start, "time": torch.tensor([0.25, 0.5], dtype=torch.float64)}
    seen = []

    def net(at, told):
        seen.append((at, time_of(told)))
        return 3 * at

    loss = family.loss("velocity", {"velocity": net}, {"x": x}, noise)
    # Between -0.5 and 0.5 at a quarter: -0.25; between 2 and -1 at a half: 0.5.
    torch.testing.assert_close(seen[0][0].flatten(), torch.tensor([-0.25, 0.5]).double())
    torch.testing.assert_close(seen[0][1], noise["time"])
    want = torch.tensor([(-0.75 - 1.0) ** 2, (1.5 + 3.0) ** 2], dtype=torch.float64)
    torch.testing.assert_close(loss, want)


def test_no_velocity_has_a_smaller_loss_than_the_mean_one():
    """Moving away by d costs d^2 in every pixel on average, whichever way."""
    n = 40_000
    family = FlowMatching()
    like = {"x": torch.zeros(n, 1, 1, 1, dtype=torch.float64)}
    noise = family.draw(like, Stream(2))
    draws = torch.randn(n, 1, 1, 1, generator=Stream(3).torch(), dtype=torch.float64)
    batch = {"x": MEAN + SPREAD * draws}

    def loss(net):
        return family.loss("velocity", {"velocity": net}, batch, noise)

    best = loss(best_velocity)
    for away in (lambda x, _: 0.4 + 0 * x, lambda x, t: 0.3 * x * time_of(t).reshape(-1, 1, 1, 1)):
        extra = loss(lambda x, t, d=away: best_velocity(x, t) + d(x, t)) - best
        path = (1 - noise["time"]) * noise["start"].flatten() + noise["time"] * batch["x"].flatten()
        want = away(path.reshape(-1, 1, 1, 1), clock(noise["time"])).square().mean()
        assert float(extra.mean()) == pytest.approx(
            float(want), abs=4 * float(extra.std()) / n**0.5
        )


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_exact_field_carries_one_gaussian_onto_the_other(solver, order):
    noise = starts(50)
    want = MEAN + SPREAD * noise["start"]
    errors = []
    for steps in (40, 80):
        family = FlowMatching(solver=solver, steps=steps)
        found = family.generate({"velocity": best_velocity}, {"x": want}, noise)["x"]
        errors.append(float((found - want).abs().max()))
    assert errors[1] < 0.04
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_a_constant_velocity_is_followed_exactly_and_images_are_cut_to_their_range():
    noise = {"start": torch.tensor([-0.9, 0.0, 0.9]).reshape(3, 1, 1, 1), "time": torch.zeros(3)}
    family = FlowMatching(steps=7)
    found = family.generate({"velocity": lambda x, _: 0 * x + 0.5}, {"x": noise["start"]}, noise)
    torch.testing.assert_close(found["x"].flatten(), torch.tensor([-0.4, 0.5, 1.0]))


@pytest.mark.parametrize("n", [5, 8, 15, 80])
def test_any_rows_in_succession_have_times_spread_over_the_whole_unit(n):
    times = FlowMatching().draw({"x": torch.zeros(400, *SHAPE)}, Stream(4))["time"]
    assert float(times.min()) >= 0 and float(times.max()) < 1
    for first in range(0, 400 - n, 7):
        own = times[first : first + n].sort().values
        gaps = torch.cat([own[1:] - own[:-1], own[:1] + 1 - own[-1:]])
        assert float(gaps.max()) < 2 / n


@pytest.mark.parametrize("net", [UNet(width=8), Dense(hidden=16)], ids=["unet", "mlp"])
def test_a_step_down_its_gradient_lowers_the_loss_and_the_batched_engine_takes_it(net):
    made = Learner.create(FlowMatching(net=net), (1, 8, 8), Stream(0))
    batch = {"x": torch.ones(6, 1, 8, 8)}
    noise = made.family.draw(batch, Stream(1))
    params = list(made.parameters().values())

    def loss():
        return made.family.loss("velocity", made.nets, batch, noise).mean()

    before = loss()
    for p, g in zip(params, torch.autograd.grad(before, params), strict=True):
        p.data -= 1e-4 * g
    assert float(loss().detach()) < float(before.detach())
    assert formulation(made) in {"low_rank", "stacked"}


def test_the_time_matters_to_both_nets():
    x = torch.randn(2, *SHAPE, generator=Stream(6).torch())
    for net in (UNet(width=8), Dense(hidden=16)):
        made = Learner.create(FlowMatching(net=net), SHAPE, Stream(0)).nets["velocity"]
        early, late = (made(x, clock(torch.full((2,), t))) for t in (0.1, 0.8))
        assert float((early - late).abs().max().detach()) > 1e-3


def test_a_side_that_cannot_be_halved_twice_is_refused_with_what_would_do():
    with pytest.raises(ConfigError, match="16, 20, 28 or 32"):
        UNet().velocity((1, 30, 30))
    Dense().velocity((1, 30, 30))


def velocity(shape=(1, 16, 16), **settings):
    """A net in double precision, whose attention has begun to look."""
    with global_torch_draws_from(Stream(3)):
        net = UNet(width=8, **settings).velocity(shape).double()
    for name, p in net.named_parameters():
        if "look.out" in name:
            p.data = torch.randn(p.shape, generator=Stream(4).at(name).torch(), dtype=p.dtype)
    return net


def told(n):
    return clock(torch.full((n,), 0.3, dtype=torch.float64))


def test_the_default_net_has_the_weights_of_nets_that_were_saved_before_it_had_settings():
    """The layers of the first release, written out: names, order and values as drawn."""

    def residual(width):
        return nn.ModuleDict({
            "first": nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1)),
            "norm": nn.GroupNorm(8, width),
            "time": nn.Sequential(nn.Linear(2 * TIMES, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width)),
            "second": nn.Conv2d(width, width, 3, 1, 1),
        })  # fmt: skip

    with global_torch_draws_from(Stream(0)):
        layers = nn.ModuleDict({
            "enter": nn.Conv2d(1, 16, 4, 2, 1),
            "fine": residual(16),
            "down": nn.Conv2d(16, 32, 4, 2, 1),
            "coarse": nn.ModuleList([residual(32), residual(32)]),
            "up": nn.ConvTranspose2d(32, 16, 4, 2, 1),
            "finish": residual(16),
            "leave": nn.Sequential(nn.GroupNorm(8, 16), nn.SiLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1)),
        })  # fmt: skip
    made = Learner.create(FlowMatching(net=UNet(width=16)), (1, 8, 8), Stream(0))
    saved, now = layers.state_dict(), made.nets["velocity"].state_dict()
    assert list(now) == list(saved)
    assert all(torch.equal(now[name], saved[name]) for name in saved)


def test_every_setting_of_structure_changes_the_net():
    changes = ({}, {"depth": 0}, {"depth": 1}, {"depth": 3}, {"norm": "none"}, {"attention": True},
               {"upsample": "nearest"})  # fmt: skip
    nets = [velocity(**change) for change in changes]
    assert len({sum(p.numel() for p in net.parameters()) for net in nets}) == len(changes)
    assert [len(velocity(depth=d).coarse) for d in (0, 1, 2, 5)] == [0, 1, 2, 5]
    x = torch.randn(2, 1, 16, 16, generator=Stream(5).torch(), dtype=torch.float64)
    nets += [velocity(norm=norm) for norm in ("layer", "instance")]
    found = [net(x, told(2)) for net in nets]
    assert all(out.shape == x.shape for out in found)
    for i, one in enumerate(found):
        assert not any(torch.allclose(one, other) for other in found[:i])


def test_without_norms_only_attention_carries_one_corner_to_the_other():
    x = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    moved = x.clone()
    moved[..., :4, :4] = 1.0
    far = {}
    for attention in (False, True):
        net = velocity((1, 64, 64), norm="none", depth=1, attention=attention)
        far[attention] = (net(moved, told(1)) - net(x, told(1)))[..., -4:, -4:].abs().max()
    assert far[False] == 0
    assert far[True] > 1e-6


def test_attention_is_among_the_places_of_a_quarter_of_the_side():
    seen = []
    net = velocity((1, 20, 28), attention=True)
    (layer,) = (m for m in net.modules() if isinstance(m, Attention))
    layer.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[1:]))
    net(torch.zeros(1, 1, 20, 28, dtype=torch.float64), told(1))
    assert seen == [(16, 5, 7)]


@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
def test_each_way_of_doubling_is_differentiated_twice(upsample):
    net = velocity((1, 4, 4), upsample=upsample, attention=True, depth=1, norm="layer")
    kinds = [m for m in net.modules() if isinstance(m, nn.Upsample | nn.ConvTranspose2d)]
    assert len(kinds) == 2
    assert all(isinstance(m, nn.Upsample) == (upsample == "nearest") for m in kinds)
    x = torch.randn(1, 1, 4, 4, generator=Stream(6).torch(), dtype=torch.float64)
    at = told(1)
    assert torch.autograd.gradgradcheck(lambda x: net(x, at), x.requires_grad_())


@pytest.mark.parametrize("setting", [{"depth": 101}, {"depth": -1}, {"width": 0}], ids=str)
def test_a_net_that_cannot_be_built_is_refused(setting):
    with pytest.raises(ValueError, match=r"must be at (most|least) \d+, got"):
        UNet(**setting)
