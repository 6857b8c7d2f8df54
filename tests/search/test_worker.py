"""One trial after another in one process, and checkpoints that are whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metasearch.errors import RunError
from metasearch.search.backend import Order
from metasearch.search.process import born_deaf, environment, limit_threads, threads_restored
from metasearch.search.revival import revive_report
from metasearch.search.worker import TrialRunner, keep_checkpoint, whole_checkpoints
from tests.search.driver import lines
from tests.search.planted import MOMENT_S, STRIDE, TRIAL, report


@pytest.fixture(autouse=True)
def _threads():
    with threads_restored():
        yield


def order(folder: Path, **config) -> Order:
    return Order(0, "0000", str(folder), {"x": 0.5, **config})


def run(runner: TrialRunner, given: Order, reports: int = 99):
    """The messages of an order, until its final report or an error."""
    runner.start(given)
    messages = []
    while len(messages) < reports:
        messages.append(runner.next())
        if "error" in messages[-1] or messages[-1]["report"]["final"]:
            break
    return messages


def keep(folder: Path, made) -> None:
    keep_checkpoint(folder, made.step, made.snapshot, made.to_data())


def steps(messages) -> list[int]:
    return [message["report"]["step"] // STRIDE for message in messages]


def test_messages_are_plain_data(tmp_path):
    messages = run(TrialRunner(TRIAL), order(tmp_path, pictures=True))
    assert steps(messages) == [1, 2, 3, 4]
    assert set(messages[0]["samples"]) == {"tasks", "support", "before", "after", "truth"}
    assert revive_report(messages[1]["report"]) == report({}, 2, 4, 1.0)


def test_the_last_two_checkpoints_are_kept(tmp_path):
    run(TrialRunner(TRIAL), order(tmp_path, snapshots=True))
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"300", "400"}
    assert [path.name for path in whole_checkpoints(tmp_path)] == ["400", "300"]


def test_a_trial_goes_on_from_its_last_checkpoint_and_says_its_report_again(tmp_path):
    account = str(tmp_path / "account")
    run(TrialRunner(TRIAL), order(tmp_path, snapshots=True), reports=2)
    messages = run(TrialRunner(TRIAL), order(tmp_path, snapshots=True, account=account))
    assert steps(messages) == [2, 3, 4]
    assert [what for _, what, _, _ in lines(Path(account))] == ["began", "well", "well"]
    whole = run(TrialRunner(TRIAL), order(tmp_path / "whole", snapshots=True))
    assert [m["report"] for m in messages] == [m["report"] for m in whole[1:]]


def test_a_trial_whose_last_report_was_lost_is_not_run_again(tmp_path):
    account = tmp_path / "account"
    run(TrialRunner(TRIAL), order(tmp_path, snapshots=True))
    messages = run(TrialRunner(TRIAL), order(tmp_path, snapshots=True, account=str(account)))
    assert steps(messages) == [4] and not account.exists()


def test_a_damaged_snapshot_is_passed_over_for_the_one_before_it(tmp_path):
    given = order(tmp_path, snapshots=True)
    run(TrialRunner(TRIAL), given, reports=3)
    (tmp_path / "checkpoints/300/made.json").write_text("{")
    assert steps(run(TrialRunner(TRIAL), given)) == [3, 2, 3, 4]
    (tmp_path / "checkpoints/300/made.json").write_text("{")
    (tmp_path / "checkpoints/400/report.json").unlink()
    (tmp_path / "checkpoints/300/report.json").unlink()
    assert steps(run(TrialRunner(TRIAL), given)) == [1, 2, 3, 4]


@pytest.mark.parametrize("reported", [0, 2])
def test_a_trial_goes_on_from_where_it_paused(tmp_path, reported):
    given = order(tmp_path, snapshots=True, pause=3 * MOMENT_S, account=str(tmp_path / "account"))
    asked = iter([*[False] * (3 * reported + 1), True, *[False] * 99])
    runner = TrialRunner(TRIAL, hurry=lambda: next(asked))
    runner.start(given)
    before = [runner.next() for _ in range(reported + 1)]
    assert before[-1] == {"paused": reported * STRIDE}
    assert whole_checkpoints(tmp_path)[0].name == str(reported * STRIDE + 1)
    again = []
    rest = run(TrialRunner(TRIAL, hurry=lambda: bool(again.append(0))), given)
    assert len(again) == 3 * (4 - reported) - 2, "two of three moments were kept"
    assert steps(rest) == [*([reported] if reported else []), *range(reported + 1, 5)]
    whole = run(TrialRunner(TRIAL), order(tmp_path / "whole", snapshots=True))
    assert rest[-1] == whole[-1]


def test_a_trial_goes_on_by_itself_after_a_pause(tmp_path):
    runner = TrialRunner(TRIAL, hurry=lambda: True)
    runner.start(order(tmp_path, snapshots=True, pause=MOMENT_S))
    found = [runner.next() for _ in range(8)]
    assert [m.get("paused", m.get("report", {}).get("step")) for m in found] == [
        0, 100, 100, 200, 200, 300, 300, 400,
    ]  # fmt: skip


def test_a_checkpoint_that_was_not_finished_does_not_count(tmp_path, monkeypatch):
    keep(tmp_path, report({"snapshots": True}, 1, 4, 0.5))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metasearch.search.worker.write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        keep(tmp_path, report({"snapshots": True}, 2, 4, 0.5))
    assert [path.name for path in whole_checkpoints(tmp_path)] == ["100"]


def test_a_checkpoint_that_is_there_already_is_replaced(tmp_path):
    for value in (0.5, 0.7):
        keep(tmp_path, report({"snapshots": True}, 1, 4, value))
    assert '"score":0.7' in (tmp_path / "checkpoints/100/report.json").read_text()


@pytest.mark.parametrize(
    ("end", "reason", "last"),
    [
        ({"name": "raise"}, "user", "ValueError: planted fault"),
        ({"name": "memory"}, "out_of_memory", "MemoryError: planted"),
        ({"name": "mute"}, "user", "RunError: the trial ended without a final report."),
    ],
)
def test_what_a_trial_raises_ends_that_trial_only(tmp_path, end, reason, last):
    runner = TrialRunner(TRIAL)
    *_, message = run(runner, order(tmp_path, end=end))
    assert message["error"]["reason"] == reason
    assert message["error"]["error"].splitlines()[-1].endswith(last)
    assert steps(run(runner, order(tmp_path))) == [1, 2, 3, 4]


class Fault(RuntimeError):
    """Raised by the trial below."""


def raising(config, resume, **how):
    raise {
        "exit": SystemExit(3),
        "disk": OSError(28, "No space left on device"),
        "cuda": type("OutOfMemoryError", (RuntimeError,), {})("CUDA"),
        "host": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        "plain": Fault("x"),
    }[config["fault"]]
    yield


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("exit", "user"), ("disk", "storage"), ("cuda", "out_of_memory"),
     ("host", "out_of_memory"), ("plain", "user")],
)  # fmt: skip
def test_failures_are_told_apart(tmp_path, fault, reason):
    (message,) = run(TrialRunner(f"{__name__}:raising"), order(tmp_path, fault=fault))
    assert message["error"]["reason"] == reason


@pytest.mark.parametrize("name", ["no.such.module:x", "tests.search.planted:none", "nothing"])
def test_a_trial_function_that_is_not_there_is_named(tmp_path, name):
    (message,) = run(TrialRunner(name), order(tmp_path))
    assert f"no trial function {name!r}" in message["error"]["error"]


def test_nothing_can_be_asked_of_a_runner_before_its_start():
    with pytest.raises(RunError, match="no trial was started"):
        TrialRunner(TRIAL).next()


def test_a_trial_computes_with_the_threads_it_was_given(tmp_path):
    def seen(config, resume, **how):
        torch = sys.modules.get("torch")
        raise Fault(os.environ["OMP_NUM_THREADS"], torch.get_num_threads() if torch else 3)
        yield

    sys.modules[__name__].seen = seen  # type: ignore[attr-defined]
    (message,) = run(TrialRunner(f"{__name__}:seen", cpus=3), order(tmp_path))
    assert message["error"]["error"].endswith("Fault: ('3', 3)")


def test_threads_and_variables_are_put_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with threads_restored():
        limit_threads(2)
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "2"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ
    with environment({"OMP_NUM_THREADS": "9", "A_NEW_ONE": "1"}):
        assert os.environ["A_NEW_ONE"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "A_NEW_ONE" not in os.environ


def test_what_is_born_deaf_outlives_sigterm_which_its_parent_hears():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with born_deaf():
        child = subprocess.Popen(["sleep", "60"])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    for number in (signal.SIGTERM, signal.SIGHUP):
        child.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=0.3)
    child.kill()
    assert child.wait() == -signal.SIGKILL
