"""How much of a card a trial is given, by arithmetic and by recipes at their upper bounds."""

from __future__ import annotations

import pytest

from metasearch.errors import ConfigError, EnvironmentFault
from metasearch.search import share
from metasearch.search.share import HEADROOM, Card, Share
from tests.search.plans import plan

GIB = 2**30


@pytest.mark.parametrize(
    ("peak", "wanted"),
    [(1.0, 1 / 13), (4.0, 1 / 3), (6.9, 0.5), (7.0, 1.0), (16.0, 1.0), (0.0, 1 / 16)],
)
def test_a_card_is_shared_by_as_many_as_fit_with_headroom(peak, wanted):
    card = Card("a card", 16 * GIB, round(peak * GIB))
    assert card.share == pytest.approx(wanted, abs=1e-4)
    together = int(1 / card.share)
    assert together == 1 or together * peak * HEADROOM <= 16


def test_of_different_cards_the_smallest_decides():
    small, large = Card("small", 8 * GIB, 3 * GIB), Card("large", 80 * GIB, 3 * GIB)
    assert Share.of([large, small]).gpus == small.share > large.share
    assert "small" in str(Share.of([large, small])) and "large" in str(Share.of([large, small]))


def test_without_a_card_there_is_nothing_to_share():
    assert Share.of([]).gpus == 0
    assert "no GPU" in str(Share.of([]))


def test_what_does_not_fit_into_a_whole_card_is_refused():
    with pytest.raises(EnvironmentFault, match=r"does not fit into a card with 8\.0 GiB"):
        Share.of([Card("a card", 8 * GIB, 8 * GIB + 1)])


class OutOfMemoryError(RuntimeError):
    """As torch's, which is not the same class on every device."""


@pytest.mark.parametrize(
    "fault",
    [
        OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate"),
        RuntimeError("CUDA out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"),
    ],
)  # fmt: skip
def test_a_recipe_that_lacks_memory_does_not_fit(monkeypatch, fault):
    assert not probed(monkeypatch, fault)


@pytest.mark.parametrize("fault", [ConfigError("no such source"), ValueError("no such device")])
def test_a_recipe_that_cannot_be_run_is_left_to_its_trial(monkeypatch, fault):
    assert probed(monkeypatch, fault)


def test_a_card_that_fails_otherwise_is_told_as_what_it_is(monkeypatch):
    with pytest.raises(RuntimeError, match="illegal memory access"):
        probed(monkeypatch, RuntimeError("CUDA error: an illegal memory access was encountered"))


def probed(monkeypatch, fault):
    def fail(*_):
        raise fault

    monkeypatch.setattr("metasearch.trial.config.from_data", fail)
    return share._run({})


def test_greedy_recipes_stand_at_upper_bounds_and_cover_words():
    tree = {"width": {"log_integers": [8, 64]}, "steps": {"choice": [1, 5, 3]},
            "kind": {"choice": [{"name": "a", "z": {"uniform": [0.0, 2.0]}}, {"name": "b"}]}}  # fmt: skip
    found = plan(tree).greedy(12)
    assert {(r["x"], r["width"], r["steps"]) for r in found} == {(1.0, 64, 5)}
    assert {r["kind"]["name"] for r in found} == {"a", "b"}
    assert {r["kind"].get("z") for r in found} == {2.0, None}
