"""What a search changes about its process, and puts back: threads, variables, loggers, modules."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def limit_threads(cpus: int) -> None:
    """Let this process compute with `cpus` threads; best called before torch is imported.

    One trial per core is faster than each trial on all cores, and then the order in which a sum
    is taken does not depend on the machine.
    """
    for name in _THREADS:
        os.environ[name] = str(cpus)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(cpus)


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, for the life of this process.

    Fast weights of many tasks come and go by megabytes; given back each time, every page of them is
    faulted in anew: 1.45 times the time of a meta-step of an MLP under Adam. Other C libraries are
    left as they are.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 32 * 2**20)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def limit_gpu(share: float) -> None:
    """Let this process take no more than its share of the GPU's memory, if it shares one.

    Whoever takes more runs out of memory itself, and not its neighbours.
    """
    torch = sys.modules.get("torch")
    if 0 < share < 1 and torch is not None and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def card_of() -> dict[str, str]:
    """The GPU that this process computes on, if it computes on one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    return {"card": torch.cuda.get_device_name()}


class StuckError(Exception):
    """A trial said nothing for longer than it may."""


@contextlib.contextmanager
def exits_when_stuck(seconds: float, note: Path) -> Iterator[None]:
    """End this process if the body takes longer, and leave in `note` where all threads were.

    The clock is in C and needs no Python: it also ends a process that never comes back from a
    library. `note` is gone again if the body ends in time.
    """
    with note.open("w", encoding="utf-8") as file:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    note.unlink()


@contextlib.contextmanager
def raises_when_stuck(seconds: float, note: Path) -> Iterator[None]:  # noqa: ARG001
    """Raise `StuckError` in the body if it takes longer; does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise StuckError(f"no report within {seconds:g} s.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def born_deaf() -> Iterator[None]:
    """Let processes started in the body never hear SIGTERM and SIGHUP; we hear them afterwards.

    Batch systems, systemd and closed terminals send these to all processes at once. Those that
    serve a search have to outlive them until it has let go of its trials.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def threads_restored() -> Iterator[None]:
    """Undo `limit_threads` in the end, for a process that is not a worker's alone."""
    torch = sys.modules.get("torch")
    count = torch.get_num_threads() if torch else 0
    with _variables_restored(_THREADS):
        yield
    if torch:
        torch.set_num_threads(count)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables, and put back what was there."""
    with _variables_restored(values):
        os.environ.update(values)
        yield


@contextlib.contextmanager
def _variables_restored(names: Iterable[str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def attribute(owner: object, name: str, value: object) -> Iterator[None]:
    """Set an attribute, and put back what was there: for switches with no other handle."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def log_to_file(name: str, file: Path) -> Iterator[None]:
    """Send the lines of the logger `name`, and of those below it, to a file and nowhere else."""
    logger = logging.getLogger(name)
    before = (logger.handlers[:], logger.propagate, logger.level)
    handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        handler.close()
        logger.handlers, logger.propagate = before[0], before[1]
        logger.setLevel(before[2])
