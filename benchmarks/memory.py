"""Bound the memory of a meta-step: what it takes at its peak, how long, and the same result?

    python -m benchmarks.memory

A second-order step keeps the graph of every inner step. `memory_mb` of the engine cuts its tasks
into parts; each line says what a limit gives, measured in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.engine import ours
from benchmarks.engine.cases import CASES
from benchmarks.engine.harness import cpu_seconds, distance
from benchmarks.engine.limits import MemoryMeter
from benchmarks.engine.work import Case, Work
from metasearch.search.process import keep_freed_memory

LIMITS = (4096, 400, 200, 100)
"""Megabytes (2^20 bytes); the first is the engine's default and holds all tasks of these cases."""


@dataclass(frozen=True)
class Bounded:
    """One meta-step under a limit."""

    limit_mb: int
    peak_mb: float  # resident memory that the step adds, in 2^20 bytes
    seconds: float  # CPU time, median
    apart: float  # relative distance from the meta-gradient without a limit

    def __str__(self) -> str:
        """One line."""
        return (
            f"  limit {self.limit_mb:5d} MiB   peak {self.peak_mb:7.1f} MiB   "
            f"{self.seconds * 1e3:8.1f} ms   apart by {self.apart:.1e}"
        )


def bounded(case: Case, limit: int, repeats: int) -> Bounded:
    """Measure one meta-step under a limit."""
    build = partial(ours.within, limit)
    work = Work(case)
    step, whole = build(work), ours.batched(work)
    apart = distance(work, step(), whole())
    seconds = statistics.median(cpu_seconds(step) for _ in range(repeats))
    peak = MemoryMeter().peak_mb(case, build) * 1e6 / 2**20
    return Bounded(limit, peak, seconds, apart)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per case and limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--only", default="/maml/sgd/5x28", help="cases whose name ends so")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of timing (3)")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    for case in CASES:
        if case.name.endswith(asked.only) and "/maml/" in case.name:
            print(f"{case.name}, {case.tasks} tasks, {case.steps} steps")
            for limit in LIMITS:
                print(bounded(case, limit, asked.repeats), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
