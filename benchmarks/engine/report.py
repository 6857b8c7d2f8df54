"""Tables of ratios, what falls short of a goal, and the same as plain data."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import torch

from benchmarks.engine.harness import TOLERANCE, Implementation, Outcome
from benchmarks.engine.work import Case

OURS, YARDSTICK, EAGER_VMAP = "batched", "supervised", "vmap"
OVER_VMAP = 1.2  # times eager vmap, at least
OF_SUPERVISED = 0.65  # of plain training's rate, at least, to first order


@dataclass
class Result:
    """All that was found out about one case."""

    case: Case
    outcomes: dict[str, Outcome]
    flops: float  # of a meta-step, as the reference does it
    supervised_flops: float
    gemm_rate: float  # operations per second of a large product, in between the timings

    def over(self, name: str) -> float:
        """How many times faster ours is than another."""
        return self.outcomes[name].median / self.outcomes[OURS].median

    def best(self, names: Sequence[str]) -> str:
        """The fastest of these; empty if none was timed."""
        timed = {n: self.outcomes[n].median for n in names if self.outcomes[n].seconds}
        return min(timed, key=lambda n: timed[n]) if timed else ""

    def rate(self, name: str) -> float:
        """Operations of the meta-step per second; plain training by its own operations."""
        flops = self.supervised_flops if name == YARDSTICK else self.flops
        return flops / self.outcomes[name].median

    def of_supervised(self, name: str) -> float:
        """Share of plain training's rate."""
        return self.rate(name) / self.rate(YARDSTICK)


class Tables:
    """Rows in the order in which they come, columns by implementation."""

    def __init__(self, implementations: Sequence[Implementation]) -> None:
        self._others = [i.name for i in implementations if i.name not in {OURS, YARDSTICK}]
        self._packaged = [i.name for i in implementations if i.kind == "packaged"]

    def header(self) -> str:
        """The first table's head."""
        columns = "".join(f"{name:>{_width(name)}}" for name in self._others)
        return (
            "Times faster than ... (CPU time of a meta-step; * the best packaged peer)\n"
            f"{'case':<26}{'tasks':>6}{'steps':>6}{'ours ms':>9}{columns}{'goal':>6}"
        )

    def row(self, result: Result) -> str:
        """One case of the first table."""
        best = result.best(self._packaged)
        cells = "".join(
            f"{_ratio(result, name) + ('*' if name == best else ' '):>{_width(name)}}"
            for name in self._others
        )
        case, ours = result.case, result.outcomes[OURS].median * 1e3
        lead = f"{case.name:<26}{case.tasks:>6}{case.steps:>6}{_number(ours):>9}"
        return f"{lead}{cells}{case.goal:>6.1f}"

    def limits(self, results: Sequence[Result]) -> Iterator[str]:
        """The second table: arithmetic, shares of what is possible, memory."""
        yield "Shares of what the machine can do, and memory (MB above what was resident)"
        yield (
            f"{'case':<26}{'GFLOP':>8}{'superv. ms':>12}{'of superv.':>12}{'(best peer)':>12}"
            f"{'of GEMM':>9}{'GEMM GF/s':>11}{'ours MB':>9}{'peer MB':>9}{'vmap MB':>9}"
        )
        for r in results:
            best = r.best(self._packaged)
            yield (
                f"{r.case.name:<26}{r.flops / 1e9:>8.2f}"
                f"{_number(r.outcomes[YARDSTICK].median * 1e3):>12}"
                f"{_percent(r.of_supervised(OURS)):>12}"
                f"{_percent(r.of_supervised(best) if best else math.nan):>12}"
                f"{_percent(r.rate(OURS) / r.gemm_rate):>9}{r.gemm_rate / 1e9:>11.1f}"
                f"{_number(r.outcomes[OURS].peak_mb):>9}"
                f"{_number(r.outcomes[best].peak_mb if best else math.nan):>9}"
                f"{_number(r.outcomes[EAGER_VMAP].peak_mb):>9}"
            )

    def remarks(self, results: Sequence[Result]) -> Iterator[str]:
        """Who was not timed and why, what float32 could not tell, and what falls short."""
        absent: dict[tuple[str, str], list[str]] = {}
        for r in results:
            for name, found in r.outcomes.items():
                if found.absent:
                    absent.setdefault((name, found.absent), []).append(r.case.name)
                if found.failed:
                    yield f"FAILED {r.case.name}: {name}: {found.failed}"
                if found.error64 <= TOLERANCE:
                    yield (
                        f"{r.case.name}: {name} is {found.error:.1e} off in float32, which cannot "
                        f"resolve this case, and {found.error64:.1e} in float64"
                    )
        for (name, why), cases in absent.items():
            where = "everywhere" if len(cases) == len(results) else f"in {len(cases)} cases"
            yield f"not timed {where}: {name}: {why}"
        for r in results:
            yield from (f"short of its goal: {r.case.name}: {text}" for text in self.shortfalls(r))

    def shortfalls(self, result: Result) -> Iterator[str]:
        """What a case promised and did not keep."""
        best = result.best(self._packaged)
        if best and result.over(best) < result.case.goal:
            yield f"{result.over(best):.2f}x over {best}, goal {result.case.goal:.1f}x"
        if result.over(EAGER_VMAP) < OVER_VMAP:
            yield f"{result.over(EAGER_VMAP):.2f}x over vmap, goal {OVER_VMAP:.1f}x"
        if result.case.method != "maml" and result.of_supervised(OURS) < OF_SUPERVISED:
            share = _percent(result.of_supervised(OURS))
            yield f"{share} of plain training's rate, goal {_percent(OF_SUPERVISED)}"


def machine() -> dict[str, Any]:
    """Where this runs, and how busy it is."""
    packages = ("torch", "learn2learn", "higher", "torchopt")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def as_data(result: Result) -> dict[str, Any]:
    """A result for a file."""
    case = {k: v for k, v in vars(result.case).items() if k != "family"}
    return {
        "name": result.case.name,
        **case,
        "flops": result.flops,
        "supervised_flops": result.supervised_flops,
        "gemm_rate": result.gemm_rate,
        "implementations": {name: asdict(o) for name, o in result.outcomes.items()},
    }


def _ratio(result: Result, name: str) -> str:
    outcome = result.outcomes[name]
    if outcome.failed:
        return "FAILED"
    return f"{result.over(name):.2f}" if outcome.seconds else "-"


def _width(name: str) -> int:
    return max(len(name), 6) + 2


def _number(x: float) -> str:
    return "-" if math.isnan(x) else f"{x:.1f}"


def _percent(x: float) -> str:
    return "-" if math.isnan(x) else f"{100 * x:.0f} %"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a path of ours
            return next(x.split(":")[1].strip() for x in file if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
