"""What is tried again, by a desk that only takes notes."""

from __future__ import annotations

import pytest

from metasearch.search.backend import Order, Resources
from metasearch.search.retries import Retries, cause_of_death


class Notes:
    """A desk with so many orders."""

    def __init__(self, orders: int) -> None:
        self.left = [Order(n, f"{n:04d}", "", {}) for n in range(orders)]
        self.said = []
        self.stopping = False

    @property
    def open(self):
        return bool(self.left)

    def next(self):
        return self.left.pop(0) if self.left else None

    def heard(self, number, message):
        self.said.append((number, message))
        return "error" in message


def error(reason):
    return {"error": {"reason": reason, "error": "planted"}}


def fail(desk, reason):
    """Take an order and fail; its number."""
    order = desk.next()
    assert desk.heard(order.number, error(reason))
    return order.number


def test_a_dead_worker_is_forgiven_so_often_and_no_more():
    notes = Notes(2)
    desk = Retries(notes, 2, roomier=True)
    assert [fail(desk, "infrastructure") for _ in range(3)] == [0, 0, 0]
    assert notes.said == [(0, error("infrastructure"))]
    assert fail(desk, "infrastructure") == 1, "each trial has its own"


def test_memory_is_another_account_and_has_to_wait_for_room():
    notes = Notes(2)
    desk = Retries(notes, 1, roomier=True)
    assert [fail(desk, "out_of_memory"), fail(desk, "infrastructure")] == [0, 1]
    assert desk.next().number == 1 and desk.next() is None and not desk.open
    assert desk.give_room() and desk.open
    assert fail(desk, "infrastructure") == 0, "which is not held against it"
    assert fail(desk, "out_of_memory") == 0
    assert notes.said == [(0, error("out_of_memory"))] and not desk.give_room()


@pytest.mark.parametrize("reason", ["user", "timeout", "out_of_memory"])
def test_what_would_happen_again_is_not_tried_again(reason):
    notes = Notes(1)
    fail(Retries(notes, 5, roomier=False), reason)
    assert notes.said == [(0, error(reason))]


def test_what_fails_while_the_search_stops_is_left_for_the_next_sitting():
    notes = Notes(1)
    desk = Retries(notes, 1, roomier=True)
    order = desk.next()
    notes.stopping = True
    assert desk.heard(order.number, error("infrastructure"))
    assert not notes.said and not desk.open


def test_reports_go_through():
    notes = Notes(1)
    desk = Retries(notes, 1, roomier=True)
    assert not desk.heard(desk.next().number, {"report": 1})
    assert notes.said == [(0, {"report": 1})]


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("The actor died: Task was killed due to the node running low on memory.", "out_of_memory"),
        ("OutOfMemoryError: memory usage threshold exceeded", "out_of_memory"),
        ("The actor died unexpectedly: SYSTEM_ERROR", "infrastructure"),
        ("the actor's node was terminated expectedly: received SIGTERM", "preempted"),
        ("the actor's node was terminated unexpectedly: health check failed", "infrastructure"),
    ],
)
def test_causes_of_death_are_told_apart(said, cause):
    assert cause_of_death(said) == cause


@pytest.mark.parametrize(
    ("has", "more"),
    [((1, 0.0), (2, 0.0)), ((2, 0.25), (4, 0.5)), ((1, 0.6), (2, 1.0))],
)
def test_more_room_is_twice_the_share(has, more):
    roomier = Resources(cpus_per_trial=has[0], gpus_per_trial=has[1]).roomier()
    assert (roomier.cpus_per_trial, roomier.gpus_per_trial) == more


def test_a_trial_with_a_whole_gpu_gains_nothing():
    assert Resources(gpus_per_trial=1.0).roomier() is None
