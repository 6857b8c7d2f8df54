"""When a trial is told to keep what it has."""

from __future__ import annotations

import pytest

from metasearch.search import notice as module
from metasearch.search.notice import LOOK_S, REST_S, Notice


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_notice_is_heard_at_the_next_look_and_again_after_a_rest(clock):
    coming, looks = [False], []

    def look():
        looks.append(clock[0])
        return coming[0]

    notice = Notice(look)
    assert not notice()
    coming[0] = True
    assert not notice(), "it does not look at every meta-step"
    clock[0] += LOOK_S
    assert notice()
    clock[0] += LOOK_S
    assert not notice(), "it was kept just now"
    clock[0] += REST_S - LOOK_S
    assert notice()
    assert looks == [100.0, 100.0 + LOOK_S, 100.0 + LOOK_S + REST_S]


def test_a_notice_that_was_taken_back_is_forgotten(clock):
    coming = [True]
    notice = Notice(lambda: coming[0])
    assert notice()
    coming[0] = False
    clock[0] += REST_S
    assert not notice()
    coming[0] = True
    clock[0] += LOOK_S
    assert notice()
