"""Inner optimisers: how far a move goes, and that rates fall over the steps as they are told to."""

from __future__ import annotations

import math

import pytest
import torch

from metasearch.engine.base import InnerLoop, decay
from metasearch.engine.rules import Rule
from metasearch.models.base import Learner
from metasearch.models.gan import GAN

STEPS = 5


def way(rule: Rule) -> torch.Tensor:
    """What all moves together subtract, where the gradient is 2 everywhere."""
    whole = torch.zeros(3, dtype=torch.float64)
    for _ in range(STEPS):
        whole = whole + rule("w", torch.full((3,), 2.0, dtype=torch.float64))
        rule.steps += 1
    return whole


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.82, 0.64, 0.46, 0.28]),
        ("cosine", [0.1 + 0.45 * (1 + math.cos(math.pi * k / STEPS)) for k in range(STEPS)]),
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("learned", [False, True])
def test_rates_fall_over_the_steps(schedule, shares, optimizer, learned):
    inner = InnerLoop(steps=STEPS, lr=0.1, optimizer=optimizer, schedule=schedule)
    rates = {"w": torch.tensor(math.log(0.1), dtype=torch.float64)} if learned else {}
    size = 2.0 if optimizer == "sgd" else 1.0  # Adam goes along a steady gradient's sign
    expected = torch.full((3,), 0.1 * size * sum(shares), dtype=torch.float64)
    torch.testing.assert_close(way(Rule(inner, rates, STEPS)), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_move_in_place_goes_as_far(schedule, optimizer):
    inner = InnerLoop(steps=STEPS, lr=0.1, optimizer=optimizer, schedule=schedule)
    weight, rule = torch.zeros(3, dtype=torch.float64), Rule(inner, {}, STEPS)
    for _ in range(STEPS):
        rule.move("w", weight, torch.full((3,), 2.0, dtype=torch.float64))
        rule.steps += 1
    torch.testing.assert_close(-weight, way(Rule(inner, {}, STEPS)))


def test_a_player_that_moves_twice_in_a_step_is_slow_at_the_end_of_all_its_moves():
    learner = Learner(GAN(critic_steps=2), (1, 16, 16), {})
    inner = InnerLoop(steps=3)
    assert [inner.moves(learner, player) for player in ("discriminator", "generator")] == [6, 3]
    together = InnerLoop(steps=3, play="simultaneous")
    assert together.moves(learner, "discriminator") == 3


def test_a_rate_never_falls_below_a_tenth():
    for schedule in ("linear", "cosine"):
        assert decay(schedule, 1.0) == pytest.approx(0.1)
        assert decay(schedule, 7.0) == pytest.approx(0.1)
