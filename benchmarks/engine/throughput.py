"""Two trials of one thread each on two cores, against one process at torch's default threads."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from benchmarks.engine.cases import IMPLEMENTATIONS
from benchmarks.engine.work import Case, Work

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Setting:
    """So many processes of one implementation, each with so many threads."""

    implementation: str
    processes: int
    threads: int | None  # None: whatever torch takes by itself


SETTINGS = (
    Setting("batched", 2, 1),
    Setting("learn2learn", 1, None),
    Setting("learn2learn", 2, 1),
    Setting("batched", 1, 1),
    Setting("batched", 1, None),
)
"""The second is what the others are set against."""


def throughput(case: Case, *, seconds: float = 10.0, rounds: int = 3) -> str:
    """Tasks per second of wall time in each setting, taking turns; the median of the rounds."""
    found: dict[Setting, list[float]] = {setting: [] for setting in SETTINGS}
    for _ in range(rounds):
        for setting, rates in found.items():
            rates.append(_rate(case, setting, seconds))
    base = statistics.median(found[SETTINGS[1]])
    lines = [f"{case.name}: tasks per second of wall time, {rounds} rounds of {seconds:.0f} s"]
    for setting, rates in found.items():
        threads = "default threads" if setting.threads is None else f"{setting.threads} thread"
        middle = statistics.median(rates)
        lines.append(
            f"  {setting.processes} x {setting.implementation:<12} {threads:<16}"
            f"{middle:8.1f} tasks/s {middle / base:6.2f}x"
        )
    return "\n".join(lines)


def _rate(case: Case, setting: Setting, seconds: float) -> float:
    """Meta-steps of all processes between a common start and a common end, as tasks per second."""
    context = multiprocessing.get_context("spawn")
    kept = {name: os.environ.pop(name) for name in THREADS if name in os.environ}
    try:
        pipes, workers = [], []
        for _ in range(setting.processes):
            here, there = context.Pipe()
            worker = context.Process(target=_work, args=(case, setting, seconds, there))
            worker.start()
            pipes.append(here)
            workers.append(worker)
    finally:
        os.environ.update(kept)
    for pipe in pipes:
        pipe.recv()  # it is warm
    for pipe in pipes:
        pipe.send("go")
    rates: list[float] = [pipe.recv() for pipe in pipes]
    for worker in workers:
        worker.join()
    return sum(rates)


def _work(case: Case, setting: Setting, seconds: float, pipe: Connection) -> None:
    if setting.threads is not None:
        torch.set_num_threads(setting.threads)
    build = next(one.build for one in IMPLEMENTATIONS if one.name == setting.implementation)
    step = build(Work(case))
    step()
    pipe.send("warm")
    pipe.recv()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        steps += 1
    pipe.send(steps * case.tasks / (time.perf_counter() - began))
