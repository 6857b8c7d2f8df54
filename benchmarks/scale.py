"""What a search costs when it is long: `python -m benchmarks.scale`.

A run folder is filled with trials that ended, as a search would have left them; then the search
goes on for some hundred trials of ten reports, and what the driver does for each is timed: CPU of
its main thread, beside the same at other lengths, in one process. Reading commands run as a user
runs them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.overhead import SPACE, cost_of, report, watching
from benchmarks.peers import REPORTS, SLOTS
from metasearch.observe.base import Outcome, TrialInfo, Watched
from metasearch.rng import Stream
from metasearch.search.advisors import SAMPLERS
from metasearch.search.conductor import Conductor
from metasearch.search.config import SearchConfig
from metasearch.search.files import append_line
from metasearch.search.ledger import Ledger, open_run
from metasearch.search.local import LocalBackend
from metasearch.search.paddock import Paddock
from metasearch.search.ray_backend import RayBackend
from metasearch.search.run import Plan, run_search
from metasearch.search.said import line_of
from metasearch.search.stopping import PRUNERS
from metasearch.search.study import Study

RACE = "race"  # in the place of a pruner
POPULATION, BRED = 50, ("NSGAIISampler:generation", "NSGAIIISampler:generation")  # Optuna's notes
LENGTHS = (100, 300, 1000, 3000, 10_000)
TRIAL = "benchmarks.overhead:trial"


def plan(trials: int, backend: str, sampler: str, pruner: str) -> Plan:
    """The search whose ends are simulated; `dominated` compares trials in two objectives."""
    several = pruner == "dominated"
    config = SearchConfig(
        name="scale", backend=backend, trials=trials, max_concurrent=SLOTS,
        objectives=("cost",) if several else (),
        sampler=SAMPLERS[sampler](), pruner=PRUNERS["none" if pruner == RACE else pruner](),
    )  # fmt: skip
    tree = {**SPACE, "pause": 0.0, "pictures": False}
    return Plan(
        config, tree, "distance", "", "minimize", reports=REPORTS, races=pruner == RACE,
        watched=(Watched("cost", "", "minimize", likelihood=False),) if several else (),
    )  # fmt: skip


def fill(folder: Path, made: Plan, trials: int) -> None:
    """Leave `trials` trials that ended in a run folder, two thirds of them pruned.

    Where trials race, those two thirds wait after their first report.
    """
    sampler, pruner = made.search.sampler.name, RACE if made.races else made.search.pruner.name
    run_search(plan(1, "local", sampler, pruner), folder, watching(), trial=TRIAL)
    finished = 0
    with contextlib.closing(Ledger(folder)) as ledger, _no_sync():
        for number in range(1, trials):
            rng = Stream(0).at("trial", number).numpy()
            params = _drawn(rng)
            info = TrialInfo(number, f"{number:04d}", params, {**made.space, **params})
            ledger.asked(info, 0)
            length = REPORTS if rng.uniform() < 1 / 3 else int(rng.integers(2, REPORTS))
            waits = made.races and length < REPORTS
            length = 1 if waits else length
            curve = tuple((100 * k, params["x"] + 1 / k) for k in range(1, length + 1))
            last = report(length, curve[-1][1], cost_of(params))
            place = ledger.folder / "trials" / info.name
            place.mkdir(parents=True)
            append_line(place / "reports.jsonl", line_of(last, "aside" if waits else ""))
            (ledger.folder / "tensorboard" / info.name).mkdir(parents=True)
            if waits:
                continue
            state = "complete" if length == REPORTS else "pruned"
            reason = "finished" if length == REPORTS else "pruner"
            outcome = Outcome(state, reason, last.score, last.low, last.high, last.step)
            notes = {f"completed_rung_{k}": curve[3**k - 1][1] for k in range(3) if 3**k <= length}
            notes |= dict.fromkeys(BRED, finished // POPULATION)
            finished += state == "complete"
            ledger.done(info, outcome, curve, last, notes)


def _drawn(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "x": float(rng.uniform()),
        "rate": float(10 ** rng.uniform(-4, 0)),
        "width": int(rng.integers(8, 513)),
        "net": str(rng.choice(["mlp", "conv"])),
    }


@contextlib.contextmanager
def _no_sync() -> Iterator[None]:
    before, os.fsync = os.fsync, os.fstat  # does nothing, to any file
    try:
        yield
    finally:
        os.fsync = before


def go_on(folder: Path, made: Plan) -> dict[str, Any]:
    """Run the rest of a search, and time what the driver does for it.

    Where trials race, that is half of them and as many orders for those who wait.
    """
    spent: dict[str, list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        for part, owner, name in (
            ("open", Study, "__init__"), ("opened", Conductor, "resume"),
            ("suggest", Study, "ask"), ("take", Paddock, "take"),
            ("beaten", Paddock, "beaten_aside"),
            ("report", Conductor, "heard"), ("end", Conductor, "_end"),
            ("run", LocalBackend if made.search.backend == "local" else RayBackend, "run"),
        ):  # fmt: skip
            call = getattr(owner, name)
            stack.callback(setattr, owner, name, call)
            setattr(owner, name, _timed(spent[part], call))
        before = len(open_run(folder).trials)
        live = made.search.trials - before
        stop = [_Stop(2 * live)] if made.races else []
        run_search(made, folder, [*watching(), *stop], trial=TRIAL)
    ms = {part: 1e3 * np.array(times) for part, times in spent.items()}
    return {
        "suggest_p50": float(np.median(ms["suggest"])),
        "suggest_p99": float(np.percentile(ms["suggest"], 99)),
        "take_p50": float(np.median(ms["take"])),
        "beaten_p50": float(np.median(ms["beaten"])) if len(ms["beaten"]) else 0.0,
        "beaten_max": float(max(ms["beaten"], default=0.0)),
        "report_p50": float(np.median(ms["report"])),
        "report_p99": float(np.percentile(ms["report"], 99)),
        "end_p50": float(np.median(ms["end"])),
        "trial": sum(ms["run"]) / live,
        "reopen": (sum(spent["open"]) + sum(spent["opened"])),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class _Stop:
    """An observer that interrupts the search after so many orders."""

    def __init__(self, orders: int) -> None:
        self._left = orders

    def started(self, *event: Any) -> None:  # noqa: ARG002
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)

    def __getattr__(self, event: str) -> Callable[..., None]:
        return lambda *_, **__: None


def _timed(into: list[float], call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return call(*args, **kwargs)
        finally:
            into.append(time.thread_time() - began)

    return timed


def look(folder: Path) -> dict[str, float]:
    """CPU seconds of reading the ledger, and of the commands that do, beside `--help`."""
    began = time.process_time()
    open_run(folder)
    found = {"read": time.process_time() - began}
    for verb in ("--help", "status", "best"):
        command = [sys.executable, "-m", "metasearch", verb]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, *([str(folder)] if verb != "--help" else [])],
                       capture_output=True, check=True)  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found[verb] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found


def measure(length: int, live: int, backend: str, sampler: str, pruner: str) -> dict[str, Any]:
    """One length, in this process."""
    how = backend, sampler, pruner
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        fill(folder, plan(length, *how), length)
        found = go_on(folder, plan(length + live, *how))
        journal = (folder / "study.journal").stat().st_size / 2**20
        return {"trials": length, **found, "journal_mb": journal, **look(folder)}


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Cost against length, on two logarithmic axes: a straight line upwards would be growth."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    lengths = [row["trials"] for row in rows]
    for key in ("suggest_p50", "suggest_p99", "report_p50", "end_p50", "trial"):
        left.plot(lengths, [row[key] for row in rows], "o-", label=key.replace("_", " "))
    left.set(xscale="log", yscale="log", xlabel="trials before", ylabel="CPU ms of the driver")
    for key in ("reopen", "read", "status", "best", "--help"):
        right.plot(lengths, [row[key] for row in rows], "o-", label=key)
    right.set(xscale="log", yscale="log", xlabel="trials in the ledger", ylabel="CPU s")
    for axes in (left, right):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


COLUMNS = {
    "trials": "{:.0f}", "suggest_p50": "{:.1f}", "suggest_p99": "{:.1f}", "take_p50": "{:.2f}",
    "beaten_p50": "{:.2f}", "beaten_max": "{:.0f}", "report_p50": "{:.2f}",
    "report_p99": "{:.2f}", "end_p50": "{:.2f}", "trial": "{:.1f}", "reopen": "{:.2f}",
    "read": "{:.2f}", "status": "{:.2f}", "best": "{:.2f}", "--help": "{:.2f}",
    "peak_mb": "{:.0f}", "journal_mb": "{:.1f}",
}  # fmt: skip


def main() -> None:
    """Print a table for each backend."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--live", type=int, default=100, help="trials that are timed")
    parser.add_argument("--backend", choices=["local", "ray"], default="local")
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="tpe")
    parser.add_argument("--pruner", choices=[*PRUNERS, RACE], default="median")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    how = asked.backend, asked.sampler, asked.pruner
    if asked.one:
        print(json.dumps(measure(asked.one, asked.live, *how)))
        return
    print(f"{', '.join(how)}; CPU ms for a suggestion, a report, an end, a whole trial; CPU s to "
          "go on with the search, to read the ledger, and of commands")  # fmt: skip
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    rows = []
    for length in asked.lengths:
        command = [sys.executable, "-m", "benchmarks.scale", "--one", str(length)]
        flags = ["--live", str(asked.live), "--backend", how[0], "--sampler", how[1]]
        done = subprocess.run([*command, *flags, "--pruner", how[2]],
                              capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print("| " + " | ".join(form.format(rows[-1][key]) for key, form in COLUMNS.items()) + " |",
              flush=True)  # fmt: skip
    if asked.plot:
        draw(rows, asked.plot)


if __name__ == "__main__":
    main()
