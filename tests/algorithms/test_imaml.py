"""Implicit meta-gradients against the derivative of the exact proximal solution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from metasearch.algorithms import IMAML, MAML
from metasearch.algorithms.base import MetaStep
from metasearch.algorithms.imaml import PROXIMAL, conjugate_gradients
from metasearch.engine import Batched, Loop
from metasearch.engine.base import InnerLoop
from metasearch.models.base import Learner, shared_noise
from metasearch.registry import component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch
from tests.games import Point, Quadratic, matrix, points, quadratic

D, PULL = 4, 0.7
EYE = torch.eye(D, dtype=torch.float64)
LONG = InnerLoop(steps=400, lr=0.2, clip=0, proximal=PULL)


def gradient(algorithm, learner, episodes, engine=None):
    noise = shared_noise(learner.family, Stream(0).at("noise"))
    return algorithm.meta_gradient(MetaStep(engine or Loop(), learner), episodes, noise)


@pytest.mark.parametrize("engine", [Loop(), Batched()], ids=["loop", "batched"])
def test_it_is_the_derivative_of_the_exact_proximal_solution(engine):
    learner, episodes = quadratic(D), points(3, D)
    theta = learner.parameters()["point.phi"].detach()
    c, q = episodes.support["x"].flatten(1), episodes.query["x"].flatten(1)
    a = matrix(D)
    ends = torch.linalg.solve(a + PULL * EYE, (c @ a + PULL * theta).T).T
    outer = (ends - q) @ a
    want = (PULL * torch.linalg.solve(a + PULL * EYE, outer.T)).mean(1)
    found = gradient(IMAML(inner=LONG, rounds=D), learner, episodes, engine)
    torch.testing.assert_close(found.values["point.phi"], want, rtol=1e-8, atol=1e-10)


def test_without_curvature_it_is_first_order_maml():
    learner, episodes = quadratic(D, linear=True), points(2, D)
    inner = InnerLoop(steps=3, lr=0.1, clip=0, proximal=PULL)
    one = gradient(MAML(inner=inner, first_order=True), learner, episodes)
    two = gradient(IMAML(inner=inner), learner, episodes)
    torch.testing.assert_close(two.values, one.values)


def test_a_strong_pull_leaves_the_gradient_at_the_start():
    learner, episodes = quadratic(D), points(2, D)
    inner = InnerLoop(steps=50, lr=1e-6, clip=0, proximal=1e6)
    still = gradient(MAML(inner=InnerLoop(steps=0)), learner, episodes).values["point.phi"]
    found = gradient(IMAML(inner=inner), learner, episodes).values["point.phi"]
    torch.testing.assert_close(found, still, rtol=1e-4, atol=1e-4)


class Shift(Point):
    """A second point."""


@component
class Pair(Quadratic):
    """phi moves and psi stays: L = (phi + M psi - c)' A (phi + M psi - c) / 2 + ||psi||^2 / 2."""

    name: Literal["quadratic"] = "quadratic"

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        return {"point": ("point", "shift")}

    def build(self, shape: tuple[int, int, int]) -> Mapping[str, nn.Module]:
        return {"point": Point(shape[2]), "shift": Shift(shape[2])}

    def loss(self, player: str, nets, batch: Batch, noise) -> Tensor:
        c = batch["x"].flatten(1)
        phi, psi = nets["point"](c), nets["shift"](c)
        return self.value(phi, psi, c)

    @staticmethod
    def value(phi, psi, c) -> Tensor:
        gap = phi + psi @ matrix(D).cumsum(0) - c
        return 0.5 * torch.einsum("ni,ij,nj->n", gap, matrix(D), gap) + 0.5 * (psi**2).sum(1)


def test_what_the_inner_loop_leaves_alone_is_learned_by_how_the_end_follows_it():
    learner = Learner.create(Pair(), (1, 1, D), Stream(3).at("init"))
    episodes = points(2, D)
    c, q = episodes.support["x"].flatten(1), episodes.query["x"].flatten(1)
    theta, psi = (
        learner.parameters()[f"{net}.phi"].detach().clone().requires_grad_()
        for net in ("point", "shift")
    )
    right = (c - psi @ matrix(D).cumsum(0)) @ matrix(D) + PULL * theta
    ends = torch.linalg.solve(matrix(D) + PULL * EYE, right.T).T
    want = torch.autograd.grad(Pair.value(ends, psi.expand(2, -1), q).mean(), [theta, psi])
    inner = InnerLoop(steps=400, lr=0.2, clip=0, proximal=PULL, adapts="point")
    found = gradient(IMAML(inner=inner, rounds=D), learner, episodes).values
    torch.testing.assert_close(found["point.phi"], want[0], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found["shift.phi"], want[1], rtol=1e-8, atol=1e-10)


def test_conjugate_gradients_solve_and_give_up_on_what_is_not_positive():
    a, right = matrix(D), torch.arange(1.0, D + 1, dtype=torch.float64)
    found = conjugate_gradients(lambda v: a @ v, right, D)
    torch.testing.assert_close(found, torch.linalg.solve(a, right), rtol=1e-10, atol=1e-10)
    few = conjugate_gradients(lambda v: a @ v, right, 2)
    assert (a @ found - right).norm() < (a @ few - right).norm() < right.norm()
    assert not conjugate_gradients(lambda v: -v, right, 3).any()
    assert not conjugate_gradients(lambda v: v, torch.zeros(2), 3).any()


def test_it_pulls_by_itself_also_where_the_file_does_not_say_so():
    assert IMAML(inner=InnerLoop(steps=3)).inner.proximal == PROXIMAL
    assert IMAML(inner=InnerLoop(proximal=2.0)).inner.proximal == 2.0
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        IMAML(rounds=0)


def test_gradient_evaluations_of_the_solve_are_counted():
    learner, episodes = quadratic(D), points(3, D, shot=2, query=5)
    found = gradient(IMAML(inner=InnerLoop(steps=4, lr=0.1), rounds=5), learner, episodes)
    assert found.gradients == 3 * (4 * 2 + (1 + 5) * 2 + 5)
