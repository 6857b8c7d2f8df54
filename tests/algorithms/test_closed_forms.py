"""Meta-gradients against closed forms on quadratics, and against finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from metasearch.algorithms import MAML, Joint, Reptile, Scratch
from metasearch.algorithms.base import MetaStep, outer_losses
from metasearch.engine import Loop
from metasearch.engine.base import InnerLoop
from metasearch.models import VAE
from metasearch.models.base import Learner, shared_noise
from metasearch.models.nets import Mlp
from metasearch.rng import Stream
from tests.games import adapt, matrix, points, quadratic

D = 4
LR = 0.1


def sgd(steps: int, lr: float = LR) -> InnerLoop:
    return InnerLoop(steps=steps, lr=lr, clip=0)


def phi_after(theta, c, steps, lr=LR):
    """K gradient steps on the quadratic, in closed form: (I - aA)^K (theta - c) + c."""
    m = torch.linalg.matrix_power(torch.eye(D, dtype=torch.float64) - lr * matrix(D), steps)
    return (theta - c) @ m.T + c


def gradient(algorithm, learner, episodes):
    noise = shared_noise(learner.family, Stream(0).at("noise"))
    return algorithm.meta_gradient(MetaStep(Loop(), learner), episodes, noise).values["point.phi"]


@pytest.fixture
def learner():
    return quadratic(D)


@given(steps=st.integers(0, 5), lr=st.floats(0.01, 0.3), tasks=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_maml_is_the_product_of_inner_jacobians_times_the_outer_gradient(steps, lr, tasks):
    learner, episodes = quadratic(D), points(tasks, D, same=True)
    theta, c = learner.parameters()["point.phi"].detach(), episodes.support["x"].flatten(1)
    a = matrix(D)
    jacobian = torch.linalg.matrix_power(torch.eye(D, dtype=torch.float64) - lr * a, steps)
    want = ((phi_after(theta, c, steps, lr) - c) @ a @ jacobian).mean(0)
    got = gradient(MAML(inner=sgd(steps, lr)), learner, episodes)
    torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 3])
def test_first_order_maml_is_the_outer_gradient_at_the_adapted_point(learner, steps):
    episodes = points(3, D)
    theta = learner.parameters()["point.phi"].detach()
    c, q = episodes.support["x"].flatten(1), episodes.query["x"].flatten(1)
    want = ((phi_after(theta, c, steps) - q) @ matrix(D)).mean(0)
    got = gradient(MAML(inner=sgd(steps), first_order=True), learner, episodes)
    torch.testing.assert_close(got, want)


def test_reptile_with_one_step_is_the_rate_times_the_joint_gradient(learner):
    episodes = points(3, D, same=True)
    theta, c = learner.parameters()["point.phi"].detach(), episodes.support["x"].flatten(1)
    want = LR * ((theta - c) @ matrix(D)).mean(0)
    torch.testing.assert_close(gradient(Reptile(inner=sgd(1)), learner, episodes), want)


def test_reptile_may_leave_the_query_alone(learner):
    episodes = points(3, D)
    theta, c = learner.parameters()["point.phi"].detach(), episodes.support["x"].flatten(1)
    want = LR * ((theta - c) @ matrix(D)).mean(0)
    support = gradient(Reptile(inner=sgd(1), images="support"), learner, episodes)
    torch.testing.assert_close(support, want)
    whole = gradient(Reptile(inner=sgd(1)), learner, episodes)
    assert not torch.allclose(whole, want)


def test_reptile_comes_to_rest_at_the_mean_of_the_tasks(learner):
    episodes = points(5, D, same=True)
    learner.load({"point.phi": episodes.support["x"].flatten(1).mean(0)})
    rest = gradient(Reptile(inner=sgd(4)), learner, episodes)
    torch.testing.assert_close(rest, torch.zeros(D, dtype=torch.float64), atol=1e-12, rtol=0)
    learner.load({"point.phi": learner.parameters()["point.phi"].detach() + 1})
    assert gradient(Reptile(inner=sgd(4)), learner, episodes).norm() > 0.1


@pytest.mark.parametrize("still", [sgd(0), sgd(3, lr=0.0)], ids=["no steps", "rate zero"])
def test_without_adaptation_maml_fomaml_and_joint_agree_and_reptile_stays(learner, still):
    episodes = points(3, D, same=True)
    joint = gradient(Joint(inner=still), learner, episodes)
    for algorithm in (MAML(inner=still), MAML(inner=still, first_order=True)):
        torch.testing.assert_close(gradient(algorithm, learner, episodes), joint)
    assert not gradient(Reptile(inner=still), learner, episodes).any()
    assert not gradient(Scratch(inner=still), learner, episodes).any()
    assert joint.norm() > 0.1


def test_on_linear_losses_the_second_order_terms_vanish():
    learner, episodes = quadratic(D, linear=True), points(3, D)
    one = gradient(MAML(inner=sgd(3), first_order=True), learner, episodes)
    two = gradient(MAML(inner=sgd(3)), learner, episodes)
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_maml_agrees_with_finite_differences_on_a_two_layer_net(optimizer, clip):
    inner = InnerLoop(steps=2, lr=0.05, optimizer=optimizer, clip=clip)
    learner = small_vae()
    episodes = images(tasks=2)
    noise = shared_noise(learner.family, Stream(0).at("noise"))

    def outer() -> float:
        adapted = adapt(Loop(), learner, inner, episodes.support, 2, noise)
        return float(outer_losses(adapted, episodes.query, noise)["vae"].mean().detach())

    found = MAML(inner=inner).meta_gradient(MetaStep(Loop(), learner), episodes, noise).values
    h = 1e-6

    def outer_at(p, value) -> float:
        p.data.copy_(value)
        return outer()

    for name, p in learner.parameters().items():
        direction = torch.randn(p.shape, generator=Stream(5).at(name).torch(), dtype=p.dtype)
        centre = p.detach().clone()
        up, down = (outer_at(p, centre + sign * h * direction) for sign in (1, -1))
        outer_at(p, centre)
        want = (up - down) / (2 * h)
        got = float((found[name] * direction).sum())
        assert got == pytest.approx(want, rel=2e-4, abs=1e-5), name


def small_vae() -> Learner:
    learner = Learner.create(VAE(latent=2, net=Mlp(hidden=6)), (1, 4, 4), Stream(1).at("init"))
    for net in learner.nets.values():
        net.double()
    return learner


def images(tasks: int, shot: int = 3, query: int = 4):
    from metasearch.tasks.base import Episodes

    make = Stream(2).torch()

    def draw(n: int):
        return {"x": torch.rand(tasks * n, 1, 4, 4, generator=make, dtype=torch.float64) * 2 - 1}

    return Episodes(tuple(f"g/{i}" for i in range(tasks)), draw(shot), draw(query), draw(0))


def test_adam_matches_torchs_own():
    """The engine's differentiable Adam against the optimiser of the library, step by step."""
    learner, episodes = quadratic(D), points(1, D)
    inner = InnerLoop(steps=4, lr=0.02, optimizer="adam", clip=0)
    noise = shared_noise(learner.family, Stream(0))
    fast = adapt(Loop(), learner, inner, episodes.support, 1, noise).state(0)["point.phi"]
    phi = learner.parameters()["point.phi"].detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([phi], lr=0.02, eps=1e-8)
    c = episodes.support["x"].flatten(1)[0]
    for _ in range(4):
        optimizer.zero_grad()
        (0.5 * (phi - c) @ matrix(D) @ (phi - c)).backward()
        optimizer.step()
    torch.testing.assert_close(fast, phi.detach(), rtol=1e-6, atol=1e-8)


def test_pixel_nats_is_the_bernoulli_cross_entropy():
    from metasearch.models.vae import pixel_nats

    logits, x = torch.tensor([[0.3, -2.0, 5.0]]), torch.tensor([[1.0, -1.0, 0.0]])
    p = torch.sigmoid(logits)
    t = (x + 1) / 2
    want = -(t * p.log() + (1 - t) * (1 - p).log()).sum(1)
    torch.testing.assert_close(pixel_nats(logits, x), want)
    assert F.softplus(torch.tensor(0.0)).item() == pytest.approx(0.6931, abs=1e-4)
