"""A worker that lost its GPU, or whose trials left too much on it, makes room for another."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from metasearch.search.card import CROWDED, context_lost
from metasearch.search.worker import TrialRunner, describe_error, last_words
from tests.search.planted import report
from tests.search.test_worker import order, run

NAME = __name__
ILLEGAL = "CUDA error: an illegal memory access was encountered"


class Gone(BaseException):
    """The process ended."""


def gone():
    raise Gone


@pytest.fixture
def card(monkeypatch):
    """A torch with a card, and how much of it is taken."""
    taken = SimpleNamespace(bytes=0)
    cuda = SimpleNamespace(
        is_initialized=lambda: True, is_available=lambda: True, empty_cache=lambda: None,
        memory_allocated=lambda: taken.bytes, get_device_name=lambda: "planted",
        set_per_process_memory_fraction=lambda share: None,
    )  # fmt: skip
    monkeypatch.setitem(
        sys.modules, "torch", SimpleNamespace(cuda=cuda, set_num_threads=lambda n: None)
    )
    return taken


@pytest.mark.parametrize(
    ("text", "lost", "reason"),
    [
        (ILLEGAL, True, "infrastructure"),
        ("CUDA error: device-side assert triggered", True, "infrastructure"),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", True, "infrastructure"),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling", True, "infrastructure"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", False, "out_of_memory"),
        ("CUDA error: out of memory", False, "out_of_memory"),
        ("mat1 and mat2 shapes cannot be multiplied", False, "user"),
    ],
)
def test_what_a_gpu_does_not_recover_from_is_told_from_what_the_trial_did(text, lost, reason):
    assert context_lost(RuntimeError(text)) == lost
    assert describe_error(RuntimeError(text))["reason"] == reason
    assert not context_lost(ValueError(text)), "torch says RuntimeError"


def test_a_worker_that_lost_its_gpu_ends_with_word_of_why(tmp_path):
    def breaks(config, resume, **how):
        yield report(config, 1, 4, 0.5)
        raise RuntimeError(ILLEGAL)

    sys.modules[NAME].breaks = breaks  # type: ignore[attr-defined]
    runner = TrialRunner(f"{NAME}:breaks", leave=gone)
    runner.start(order(tmp_path))
    assert "report" in runner.next()
    with pytest.raises(Gone):
        runner.next()
    left = last_words(tmp_path)
    assert left["reason"] == "infrastructure" and ILLEGAL in left["error"]
    stays = TrialRunner(f"{NAME}:breaks")
    assert run(stays, order(tmp_path))[-1]["error"]["reason"] == "infrastructure"
    assert last_words(tmp_path) is None, "of an earlier attempt"


def test_a_worker_whose_trials_leave_memory_behind_makes_room_and_costs_no_retry(card, tmp_path):
    def leaks(config, resume, **how):
        card.bytes += config["leak"]
        yield report(config, 4, 4, 0.5)

    sys.modules[NAME].leaks = leaks  # type: ignore[attr-defined]
    runner = TrialRunner(f"{NAME}:leaks", leave=gone)
    for number, leak in enumerate((10 * CROWDED, CROWDED, 1)):  # tasks and features come first
        assert "report" in run(runner, order(tmp_path / f"{number}", leak=leak))[-1]
    with pytest.raises(Gone):
        runner.start(order(tmp_path / "next", leak=0))
    assert last_words(tmp_path / "next")["reason"] == "preempted"
    card.bytes = 0
    assert (
        "report"
        in run(TrialRunner(f"{NAME}:leaks", leave=gone), order(tmp_path / "next", leak=0))[-1]
    )
    assert last_words(tmp_path / "next") is None
