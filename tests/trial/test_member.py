"""One member of a pool: how its outer optimiser moves."""

from __future__ import annotations

import torch

from metasearch.trial.config import Outer
from metasearch.trial.member import Member
from tests.games import quadratic


def test_beta1_says_how_long_an_outer_direction_is_kept():
    """There and back: Adam that forgets at once turns round, one that remembers does not."""
    last = {}
    for beta1 in (0.0, 0.9):
        member = Member.of(quadratic(3), [{}])
        outer = Outer(lr=0.1, beta1=beta1, clip=0, schedule="constant")
        ways = []
        for sign in (1.0, 1.0, 1.0, -0.5):
            before = member.learner.parameters()["point.phi"].detach().clone()
            values = {"point.phi": sign * torch.ones(3, dtype=torch.float64)}
            member.move(values, {}, outer, 0.0)
            ways.append(member.learner.parameters()["point.phi"].detach() - before)
        assert (ways[2] < 0).all()
        last[beta1] = ways[3]
    assert (last[0.0] > 0).all()
    assert (last[0.9] < 0).all()
