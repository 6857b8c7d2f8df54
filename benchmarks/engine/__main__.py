"""`python -m benchmarks.engine`: the tables, or the throughput test, or profiles."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.engine import ours
from benchmarks.engine.cases import CASES, IMPLEMENTATIONS, QUICK, REFERENCE, THROUGHPUT
from benchmarks.engine.harness import Implementation, compare
from benchmarks.engine.limits import MemoryMeter, count, peak_rate
from benchmarks.engine.report import OURS, YARDSTICK, Result, Tables, as_data, machine
from benchmarks.engine.throughput import throughput
from benchmarks.engine.work import Case, Work
from metasearch.search.process import keep_freed_memory

NEEDED = {OURS, YARDSTICK, "vmap"}  # tables are made of these


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if an implementation of ours is wrong."""
    asked = _parser().parse_args(arguments)
    cases = [c for c in CASES if re.search(asked.only, c.name)]
    if asked.quick:
        cases = [c for c in cases if c.name in QUICK]
        asked.repeats, asked.memory = asked.repeats or 3, False
    if not cases:
        names = ", ".join(c.name for c in CASES)
        sys.exit(f"--only {asked.only!r} matches no case. There are: {names}")
    torch.set_num_threads(1)
    if not asked.plain_malloc:
        keep_freed_memory()  # as in a trial; for all implementations alike
    where = machine()
    print(json.dumps(where))
    if asked.profile:
        for case in cases:
            print(_profile(case))
        return 0
    if asked.throughput:
        for case in cases:
            if asked.only or case.name in THROUGHPUT:
                print(throughput(case, seconds=asked.seconds))
        return 0
    return _tabulate(cases, asked, where)


def _tabulate(cases: Sequence[Case], asked: argparse.Namespace, where: object) -> int:
    """Compare on each case; what was measured is kept after each, as a long run may be stopped."""
    chosen = _chosen(asked.impl, slow=asked.slow)
    results: list[Result] = []
    for result in _each(cases, chosen, asked.repeats or 5, memory=asked.memory):
        results.append(result)
        if asked.json:
            data = {"machine": where, "results": [as_data(r) for r in results]}
            asked.json.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    mine = {one.name for one in chosen if one.kind == "ours"}
    return int(any(r.outcomes[name].failed for r in results for name in mine))


def _chosen(names: str, *, slow: bool) -> list[Implementation]:
    """What tables are made of, and what was asked for."""
    return [
        one
        for one in IMPLEMENTATIONS
        if one.name in NEEDED
        or (names and one.name in names.split(","))
        or (not names and (slow or not one.slow))
    ]


def _each(
    cases: Sequence[Case], chosen: Sequence[Implementation], repeats: int, *, memory: bool
) -> Iterator[Result]:
    tables, results = Tables(chosen), list[Result]()
    meter = MemoryMeter() if memory else None
    print(tables.header(), flush=True)
    for case in cases:
        results.append(_one(case, chosen, repeats, meter))
        print(tables.row(results[-1]), flush=True)
        yield results[-1]
    print("", *tables.limits(results), "", *tables.remarks(results), sep="\n")


def _one(
    case: Case, chosen: Sequence[Implementation], repeats: int, meter: MemoryMeter | None
) -> Result:
    rates = [peak_rate(2)]
    outcomes = compare(case, chosen, REFERENCE, repeats)
    rates.append(peak_rate(2))
    if meter is not None:
        for one in chosen:
            if outcomes[one.name].seconds:
                outcomes[one.name].peak_mb = meter.peak_mb(case, one.build)
    work = Work(case)
    flops, plain = count(REFERENCE(work)), count(ours.supervised(work))
    return Result(case, outcomes, flops, plain, max(rates))


def _profile(case: Case) -> str:
    """Where our meta-step spends its time, operation by operation."""
    step = ours.batched(Work(case))
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        step()
    events = found.key_averages()
    calls = sum(e.count for e in events)
    table = events.table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40)
    return f"{case.name}: {calls} operations\n{table}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a dozen of the cases, 3 rounds, no memory")
    add("--only", default="", metavar="REGEX", help="cases whose name matches")
    add("--impl", default="", metavar="NAMES", help="implementations, with commas between")
    add("--slow", action="store_true", help="also vmap in chunks, and compiled (minutes a case)")
    add("--repeats", type=int, help="rounds of timing (5)")
    add("--no-memory", dest="memory", action="store_false", help="do not measure memory")
    add("--plain-malloc", action="store_true", help="leave malloc as it is; trials do not")
    add("--json", type=Path, metavar="FILE", help="write all numbers there")
    add("--profile", action="store_true", help="where our meta-step spends its time, instead")
    add("--throughput", action="store_true", help="two trials on two cores, instead")
    add("--seconds", type=float, default=10.0, help="of each throughput measurement (10)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
