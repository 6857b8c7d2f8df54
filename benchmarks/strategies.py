"""What choosing buys: every cell of a strategy against random, in five regimes, at equal budgets.

    python -m benchmarks.strategies --regimes noisy imbalanced --seeds 5 --out strategies

Each axis is looked at alone. Where tasks are chosen there is one model and one algorithm, so that
nothing but the choice of tasks differs between two trials of a seed; where algorithms are chosen,
one model and three algorithms; where models are, three models. Every trial of a regime is judged on
the same unseen tasks with the same noise and compared with the random trial of the same axis and
seed, task by task. What random choice among models stands for is one of them, drawn; it is judged
by the mean over all, which is what drawing gives on average.

Intervals and p resample seeds and tasks (percentile bootstrap); p is corrected after Holm over the
cells of a regime. Finished trials are kept in OUT/trials.jsonl: an interrupted run goes on, and a
long one can be done in pieces of some `--minutes` or regime by regime, `--tell` printing what there
is.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.strategy_sheet import axis_of, draw, settled
from metasearch.rng import Stream

CELLS: Mapping[str, Mapping[str, Any]] = {
    "tasks: random": {},
    "tasks: dro": {"tasks": {"name": "dro", "eta": 0.1}},
    "tasks: plr": {"tasks": {"name": "plr", "beta": 0.5}},
    "tasks: exp3s": {"tasks": {"name": "exp3s"}},
    "tasks: diverse": {"tasks": {"name": "diverse"}},
    "tasks: guided": {"tasks": {"name": "guided"}},
    "tasks: paced": {"tasks": {"name": "paced"}},
    "models: random": {},
    "models: halving": {"models": {"name": "halving", "first": 2}},
    "models: mixture": {"models": {"name": "mixture"}},
    "models: mutual": {"models": {"name": "mutual"}},
    "algorithms: random": {},
    "algorithms: exp3s": {"algorithms": {"name": "exp3s"}},
    "algorithms: race": {"algorithms": {"name": "race"}},
    "algorithms: blend": {"algorithms": {"name": "blend"}},
}
REGIMES: Mapping[str, Mapping[str, Any]] = {
    "noisy": {"name": "noisy"},
    "imbalanced": {"name": "imbalanced"},
    "shift": {"name": "shift", "transform": "rotated"},
    "scarce": {"name": "scarce", "groups": 1},
    "clean": {"name": "clean"},
}
INNER = {"steps": 3, "lr": 0.02, "test_steps": 10}
JOINT = {"name": "joint", "inner": INNER}
VAES = [
    {"name": "vae", "latent": latent, "net": {"name": "mlp", "hidden": hidden}}
    for latent, hidden in ((8, 32), (16, 128), (32, 256))
]


def recipe(source: Mapping[str, Any], regime: str, cell: str, seed: int, budget: int) -> Any:
    """The `trial:` of one run: several members on the axis that is looked at, one on the others."""
    axis = axis_of(cell)
    others = [
        {"name": "reptile", "inner": INNER},
        {"name": "maml", "first_order": True, "inner": INNER},
    ]
    return {
        "seed": seed,
        "tasks": {"name": "regime", "source": dict(source), "kind": dict(REGIMES[regime])},
        "models": VAES if axis == "models" else VAES[1:2],
        "algorithms": [JOINT, *others] if axis == "algorithms" else [JOINT],
        "strategy": {"segment": 30, **CELLS[cell]},
        "score": {"name": "nll", "samples": 8},
        "budget": {"gradients": budget, "reports": 1, "tasks_per_step": 8},
        "outer": {"lr": 3e-3},
    }


def run(job: tuple[Any, str, str, int, int]) -> dict[str, Any]:
    """One trial, in a process with one thread."""
    import torch

    from metasearch.trial.config import from_data
    from metasearch.trial.loop import Trial, bench_for

    torch.set_num_threads(1)
    source, regime, cell, seed, budget = job
    began = time.monotonic()
    config = from_data(recipe(source, regime, cell, seed, budget))
    trial = Trial.open(config, bench_for(config))
    while not trial.finished:
        last = trial.advance()
    per_task = mean_over_members(trial) if cell == "models: random" else dict(last.per_task)
    return {
        **setting(source, budget),
        "regime": regime,
        "cell": cell,
        "seed": seed,
        "gradients": last.cost.gradients,
        "seconds": round(time.monotonic() - began, 1),
        "per_task": per_task,
    }


def mean_over_members(trial: Any) -> dict[str, float]:
    """The mean score on each task of the models of a trial, each adapted alone."""
    from metasearch.trial.judge import scored

    found = [
        scored(trial.practice.population.adapter(i, 0), trial.config.engine, trial.panel)[0]["nll"]
        for i in range(len(trial.config.models))
    ]
    return dict(zip(trial.panel.tasks, map(float, np.mean(found, 0)), strict=True))


def setting(source: Mapping[str, Any], budget: int) -> dict[str, Any]:
    """What trials must have in common to be compared."""
    return {"source": source["name"], "size": source["size"], "budget": budget}


def kept(store: Path, alike: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials of a file that have this setting."""
    every = [json.loads(line) for line in store.read_text().splitlines()] if store.exists() else []
    return [t for t in every if {name: t.get(name) for name in alike} == dict(alike)]


def trials(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every trial asked for: those that were kept, and the others now."""
    store, began = options.out / "trials.jsonl", time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    found = kept(store, setting(options.source, options.budget))
    have = {(t["regime"], t["cell"], t["seed"]) for t in found}
    jobs = [
        (options.source, regime, cell, seed, options.budget)
        for regime in options.regimes
        for seed in range(options.seeds)
        for cell in options.cells
        if (regime, cell, seed) not in have and not options.tell
    ]
    pool = ProcessPoolExecutor(options.processes, mp_context=get_context("spawn"))
    with pool, store.open("a") as file:
        for done in pool.map(run, jobs):
            file.write(json.dumps(done) + "\n")
            file.flush()
            found.append(done)
            print(
                f"{len(found)}: {done['regime']}, {done['cell']}, {done['seconds']} s", flush=True
            )
            if time.monotonic() - began > 60 * options.minutes:
                print("The time is up; the same command goes on.")
                break
    return [
        t
        for t in found
        if t["regime"] in options.regimes
        and t["cell"] in options.cells
        and t["seed"] < options.seeds
    ]


def table(found: Sequence[Mapping[str, Any]], regime: str) -> Iterator[dict[str, Any]]:
    """Each cell's difference to the random one of its axis in a regime; lower is better."""
    of: dict[str, dict[int, Any]] = {}
    for trial in found:
        if trial["regime"] == regime:
            of.setdefault(trial["cell"], {})[trial["seed"]] = trial["per_task"]
    rows = []
    for cell, runs in of.items():
        base = of.get(f"{axis_of(cell)}: random", {})
        seeds = sorted(set(runs) & set(base))
        if runs is base or not seeds:
            continue
        tasks = sorted(runs[seeds[0]])
        gap = np.array([[runs[s][t] - base[s][t] for t in tasks] for s in seeds])
        low, high, se, p = bootstrap(gap)
        rows.append(
            {
                "cell": cell,
                "gap": gap.mean(),
                "low": low,
                "high": high,
                "p": p,
                "visible": 2.8 * se,
                "seeds": len(seeds),
                "below": int((gap.mean(1) < 0).sum()),
                "tasks": len(tasks),
            }
        )
    rows.sort(key=lambda row: row["p"])
    last = 0.0
    for i, row in enumerate(rows):
        last = max(last, min(1.0, row["p"] * (len(rows) - i)))
        row["holm"] = last
    yield from sorted(rows, key=lambda row: list(CELLS).index(row["cell"]))


def bootstrap(gap: np.ndarray, draws: int = 4000) -> tuple[float, float, float, float]:
    """Of the mean of [seeds, tasks], both resampled: 95 % interval, standard error, two-sided p."""
    rng = Stream(0).at("bootstrap").numpy()
    s, t = gap.shape
    means = [gap[rng.integers(s, size=s)][:, rng.integers(t, size=t)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    below = np.mean(np.array(means) < 0)
    p = max(2 * min(below, 1 - below), 1 / draws)
    return float(low), float(high), float(np.std(means)), float(p)


def show(found: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Print the tables, and draw them."""
    every = {}
    for regime in options.regimes:
        rows = every[regime] = list(table(found, regime))
        print(f"\n{regime}: nats minus random choice on the same axis, negative is better")
        print(
            f"  {'cell':18} {'gap':>7}  {'95 % interval':18} {'p (Holm)':>8}  seeds below 0"
            "  smallest visible"
        )
        for row in rows:
            sure = "settled" if settled(row) else ""
            print(
                f"  {row['cell']:18} {row['gap']:7.2f}  [{row['low']:7.2f}, {row['high']:7.2f}]"
                f"  {row['holm']:8.3f}  {row['below']:6} of {row['seeds']:<4}"
                f"  {row['visible']:12.1f}  {sure}"
            )
    draw(every, CELLS).save(options.out / "strategies.png")
    print(f"\n{options.out / 'strategies.png'}")


def main() -> None:
    """Run what is missing, and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES), choices=list(REGIMES))
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=40_000, help="gradients of a trial")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--tell", action="store_true", help="run nothing, tell what was kept")
    parser.add_argument("--omniglot", help="path of Omniglot, instead of glyphs")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-strategies"))
    options = parser.parse_args()
    options.source = {"name": "glyphs", "size": 20}
    if options.omniglot:
        options.source = {"name": "omniglot", "size": 20, "path": options.omniglot}
    show(trials(options), options)


if __name__ == "__main__":
    main()
