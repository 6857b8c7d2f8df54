"""The first asks, the second leaves, the third is obeyed by the system."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest

from metasearch.search import signals as signals_module
from metasearch.search.signals import Halted, Signals


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_the_first_is_remembered_and_the_second_is_raised_where_it_is_asked_for():
    with Signals() as signals:
        signals.check()
        assert (signals.first, signals.exit_code) == (None, 0)
        send(signal.SIGTERM)
        signals.check()
        assert (signals.first, signals.exit_code) == (signal.SIGTERM, 143)
        send(signal.SIGINT)
        with pytest.raises(Halted):
            signals.check()
        assert signals.exit_code == 143


def test_the_second_is_raised_at_once_where_that_is_safe_and_caught_at_the_end():
    reached = []
    with Signals() as signals:
        signals.raises = True
        send(signal.SIGINT)
        reached.append(1)
        send(signal.SIGINT)
        reached.append(2)
    assert reached == [1]
    assert signals.exit_code == 130


def test_sigterm_is_followed_by_a_second_if_nothing_happens(monkeypatch):
    monkeypatch.setattr(signals_module, "GRACE_S", 0.05)
    reached = []
    with Signals() as signals:
        signals.raises = True
        send(signal.SIGTERM)
        reached.append(1)
        time.sleep(30)
        reached.append(2)
    assert (reached, signals.exit_code) == ([1], 143)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_follows_ctrl_c_or_an_orderly_end(monkeypatch, number):
    monkeypatch.setattr(signals_module, "GRACE_S", 0.05 if number == signal.SIGINT else 0.5)
    with Signals() as signals:
        signals.raises = True
        send(number)
        time.sleep(0.1)
    time.sleep(0.5)  # it would have come by now
    assert signals.exit_code == 128 + number


def test_what_others_did_to_the_signals_can_be_undone():
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signals.rearm()
        send(signal.SIGTERM)
        assert signals.first == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_of_the_main_thread_nothing_is_touched():
    seen = []

    def listen():
        with Signals() as signals:
            seen.append(signal.getsignal(signal.SIGINT))
            signals.rearm()

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_the_third_ends_the_process_without_a_word():
    code = (
        "import os, signal; from metasearch.search.signals import Signals\n"
        "with Signals():\n"
        "    for _ in range(3): os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


def test_a_closed_terminal_makes_no_error_of_what_is_written_afterwards():
    code = (
        "import sys, time; from metasearch.search.signals import Signals\n"
        "with Signals() as signals:\n"
        "    print('ready', flush=True)\n"
        "    while not signals.first: time.sleep(0.01)\n"
        "    print('more', flush=True)\n"
        "    print('more', file=sys.stderr, flush=True)\n"
        "sys.exit(signals.exit_code)"
    )
    ours, theirs = pty.openpty()
    ended = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    assert os.read(ours, 5) == b"ready"
    os.close(ours)
    assert ended.wait() == 129
