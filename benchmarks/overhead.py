"""What a search costs beside its trials: `python -m benchmarks.overhead`.

The same trials for all: ten reports that take no time, 0.2 s or 1 s each, two at once. Every system
runs in a process, and on a Ray, of its own that was started before the clock; all else that happens
between the call and its return counts, the first workers' start included. The overhead of a trial
is the wall time beyond what the pauses alone would take, over the number of trials.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import REPORTS, SLOTS, plain_optuna, plain_tune
from benchmarks.stopwatch import Stopwatch
from metasearch.observe.base import Observer
from metasearch.search.advisors import TPE
from metasearch.search.config import SearchConfig
from metasearch.search.run import Plan, run_search
from metasearch.search.stopping import NoPruner
from metasearch.trial.report import Cost, Report, SampleGrid

TASKS = 24
SPACE = {
    "x": {"uniform": [0.0, 1.0]},
    "rate": {"log_uniform": [1e-4, 1.0]},
    "width": {"log_integers": [8, 512]},
    "net": {"choice": ["mlp", "conv"]},
}
PAUSES = {"trivial": 0.0, "2s": 0.2, "10s": 1.0}  # before each report


def trial(config: dict[str, Any], resume: Path | None, **how: Any) -> Iterator[Report]:  # noqa: ARG001
    """Ten reports as long as real ones, and nothing else."""
    for made in range(1, REPORTS + 1):
        time.sleep(config["pause"])
        yield report(made, config["x"] + 1 / made, cost_of(config), pictures=config["pictures"])


def cost_of(config: Mapping[str, Any]) -> float:
    """What is low where the score is high, and depends on the rate."""
    return float((1 - config["x"]) ** 2 + abs(math.log10(config["rate"]) + 2) / 4)


def report(made: int, score: float, cost: float = 0.0, *, pictures: bool = False) -> Report:
    """What a trial says when it has made so many reports."""
    grid = np.zeros((4, 5, 28, 28, 1), np.uint8)
    return Report(
        step=100 * made,
        final=made == REPORTS,
        cost=Cost(100 * made, made, 0.1 * made),
        score=score,
        low=score - 0.1,
        high=score + 0.1,
        before=2.0,
        per_task={f"alphabet/character{i:02d}": score + i for i in range(TASKS)},
        scalars={f"loss/{i}": score for i in range(8)} | {"score/cost": cost},
        samples=SampleGrid(tuple("abcd"), grid, grid, grid) if pictures else None,
    )


# Ours ---------------------------------------------------------------------------------------------


def ours(backend: str, *, watched: bool = True, pictures: bool = False) -> Callable[..., Any]:
    """Our search with the ledger, the journal and TPE; `watched`: and all that `search` shows."""

    def run(trials: int, pause: float) -> dict[str, Any]:
        config = SearchConfig(
            name="overhead", backend=backend, trials=trials, max_concurrent=SLOTS, sampler=TPE(),
            pruner=NoPruner(),
        )  # fmt: skip
        tree = {**SPACE, "pause": pause, "pictures": pictures}
        plan = Plan(config, tree, "distance", "", "minimize", reports=REPORTS)
        first = _First()
        observers: list[Observer] = [first, *(watching() if watched else [])]
        watch = Stopwatch()
        with tempfile.TemporaryDirectory() as folder, watch.on():
            run_search(plan, Path(folder) / "run", observers, trial="benchmarks.overhead:trial")
        parts = {part: (s, watch.cpu[part], watch.calls[part]) for part, s in watch.seconds.items()}
        return {"first_s": first.seconds, "parts": parts}

    return run


def watching() -> list[Observer]:
    """What `metasearch search` shows, on a terminal that nobody sees."""
    from rich.console import Console

    from metasearch.observe.progress import Progress
    from metasearch.observe.tensorboard import TensorBoard
    from metasearch.observe.trial_files import TrialFiles

    return [Progress(Console(file=io.StringIO())), TrialFiles(), TensorBoard()]


class _First:
    """Notes when the first report came."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.seconds = 0.0

    def reported(self, *event: Any) -> None:  # noqa: ARG002
        self.seconds = self.seconds or time.perf_counter() - self._began

    def opened(self, *event: Any) -> None: ...
    def started(self, *event: Any) -> None: ...
    def set_aside(self, *event: Any) -> None: ...
    def ended(self, *event: Any) -> None: ...
    def closed(self, *event: Any, **info: Any) -> None: ...


# Name -> how to run it, and how many trivial trials tell enough.
SYSTEMS: dict[str, tuple[Callable[..., Any], int]] = {
    "ours on Ray: ledger, journal, TensorBoard, terminal": (ours("ray"), 300),
    "ours on Ray, with pictures at every report": (ours("ray", pictures=True), 300),
    "ours on Ray: ledger and journal only": (ours("ray", watched=False), 300),
    "ours in this process (one at a time): all of it": (ours("local"), 300),
    "Optuna, in memory": (plain_optuna(journal=False), 300),
    "Optuna, journal file": (plain_optuna(journal=True), 300),
    "Ray Tune, function": (plain_tune(), 30),
    "Ray Tune, class": (plain_tune(of_class=True), 30),
    "Ray Tune, class, reused actors": (plain_tune(of_class=True, reuse=True), 100),
    "Ray Tune + OptunaSearch, function": (plain_tune(optuna=True), 30),
    "Ray Tune + OptunaSearch + ASHA, function": (plain_tune(optuna=True, asha=True), 30),
}
LONGER = {"2s": 8, "10s": 24}  # trials


def measure(system: str, work: str) -> dict[str, Any]:
    """Run one system in this process."""
    run, trials = SYSTEMS[system]
    trials = LONGER.get(work, trials)
    on_ray = "Ray" in system
    if on_ray:
        os.environ |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        import ray

        ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    began, cpu = time.perf_counter(), time.process_time()
    found = run(trials, PAUSES[work]) or {}
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    if on_ray:
        ray.shutdown()
    slots = 1 if "in this process" in system else SLOTS
    pure = trials * REPORTS * PAUSES[work] / slots
    return {**found, "trials": trials, "wall_s": wall, "cpu_s": cpu, "pure_s": pure}


def _apart(system: str, work: str) -> dict[str, Any] | None:
    command = [sys.executable, "-m", "benchmarks.overhead", "--one", system, work]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"FAILED: {system}, {work}\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _line(system: str, work: str, found: dict[str, Any]) -> str:
    n, wall, pure = found["trials"], found["wall_s"], found["pure_s"]
    shares = [f"{(wall - pure) / n:.4f}", f"{found['cpu_s'] / n:.4f}"]
    shares.append(f"{pure / wall:.3f}" if pure else "")
    later = ""
    if "first_s" in found:
        start = found["first_s"] - PAUSES[work]
        rest = f"{pure / (wall - start):.3f} busy" if pure else f"{(wall - start) / n:.4f} s"
        later = f"{start:.1f} s, then {rest}"
    shares.append(later)
    return f"| {system} | {work} | {n} | " + " | ".join(shares) + " |"


def _table_of_parts(found: dict[str, Any]) -> Iterator[str]:
    n = found["trials"]
    yield "| where the driver's time goes | CPU ms per trial | wall ms | calls |\n|---|---|---|---|"
    for part, (wall, cpu, calls) in sorted(found["parts"].items(), key=lambda item: -item[1][1]):
        yield f"| {part} | {1e3 * cpu / n:.2f} | {1e3 * wall / n:.2f} | {calls / n:.1f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", choices=PAUSES, nargs="+", default=["trivial", "2s"])
    parser.add_argument("--only", default="", help="systems whose name holds this")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(*asked.one)))
        return
    print("| system | trials of | how many | overhead, s per trial | driver CPU, s per trial "
          "| slots busy | start, and without it |\n|---|---|---|---|---|---|---|")  # fmt: skip
    parts = None
    for work in asked.work:
        for system in SYSTEMS:
            if asked.only in system and (found := _apart(system, work)):
                print(_line(system, work, found), flush=True)
                parts = parts or (found if "parts" in found else None)
    if parts:
        print("\n" + "\n".join(_table_of_parts(parts)))


if __name__ == "__main__":
    main()
