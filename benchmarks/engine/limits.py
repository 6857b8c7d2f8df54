"""What the machine can do: arithmetic of a meta-step, the rate of a plain product, memory."""

from __future__ import annotations

import math
import multiprocessing
import resource
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.engine.harness import Builder, cpu_seconds
from benchmarks.engine.work import Case, Work

SIDE = 2048  # of the matrices whose product sets the peak


def count(step: Callable[[], object]) -> float:
    """Operations in products and convolutions of one call; the rest is not counted."""
    with _Counter() as counter:
        step()
    total: float = counter.total
    return total


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Like `FlopCounterMode`, which hooks modules and then breaks losses that differentiate."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        answer = func(*args, **(kwargs or {}))
        flops = flop_registry.get(func._overloadpacket)
        if flops is not None:
            self.total += flops(*args, **(kwargs or {}), out_val=answer)
        return answer


def peak_rate(repeats: int) -> float:
    """Operations per second of CPU time in a large matrix product: the best of some."""
    a, b = torch.randn(2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return 2 * SIDE**3 / min(cpu_seconds(lambda: a @ b) for _ in range(repeats + 1))


class MemoryMeter:
    """Peak resident memory of one meta-step, each in a child process of its own.

    Children are forked from a server that has imported everything and computed nothing. Each
    first takes a meta-step with one task, one step and two images, so that libraries and code
    pages are in, then the whole one. What counts is how far the high-water mark of its resident
    set (`getrusage`) rises above what was resident before, inputs and meta-parameters included.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.engine.cases"])

    def peak_mb(self, case: Case, build: Builder, timeout: float = 300.0) -> float:
        """Megabytes (10^6 bytes); NaN where it cannot be measured."""
        if not Path("/proc/self/statm").exists():
            return math.nan
        here, there = self._context.Pipe(duplex=False)
        child = self._context.Process(target=_report_peak, args=(case, build, there))
        child.start()
        there.close()
        try:
            return here.recv() if here.poll(timeout) else math.nan
        except EOFError:  # the child died
            return math.nan
        finally:
            child.terminate()
            child.join()


def _report_peak(case: Case, build: Builder, answer: Connection) -> None:
    torch.set_num_threads(1)
    work = Work(case)
    build(Work(replace(case, tasks=1, steps=1, images=2)))()
    step = build(work)
    _ = work.tasks, list(work.moves()), work.outer()  # drawn and cut before, not within
    before = _resident()
    step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer.send((peak - before) / 1e6)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()
