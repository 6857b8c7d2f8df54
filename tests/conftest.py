"""What all tests share."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure(config):
    """Workers of `-n` have a core each, and so have the programs that they start."""
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def signals_are_heard():
    """A test run that was started in the background ignores SIGINT, and its children with it.

    A search honours that, as programs do; the tests that interrupt one must not depend on it.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    if before[signal.SIGINT] is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if before[signal.SIGHUP] is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
