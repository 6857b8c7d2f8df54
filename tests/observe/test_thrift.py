"""A pastime takes its share, by a clock that is set by hand."""

from __future__ import annotations

import math

import pytest

from metasearch.observe.thrift import Thrift


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_what_costs_a_second_takes_no_more_than_its_share(share):
    clock = Clock()
    thrift = Thrift(share, clock)

    def draw():
        clock.now += 1.0

    drawn = 0
    while clock.now < 1000:
        drawn += thrift(draw)
        clock.now += 0.25
    assert 0.8 * share < drawn / 1000 <= share + 1e-3


def test_what_costs_nothing_and_what_may_cost_anything_is_always_done():
    clock = Clock()
    assert all(Thrift(0.01, clock)(lambda: None) for _ in range(5))
    thrift = Thrift(math.inf, clock)

    def draw():
        clock.now += 7.0

    assert all(thrift(draw) for _ in range(5))


def test_what_costs_nothing_is_done_seldom_if_one_says_so():
    clock = Clock()
    thrift, done = Thrift(0.5, clock, least_s=10), []
    while clock.now < 100:
        thrift(lambda: done.append(clock.now))
        clock.now += 1
    assert done == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
