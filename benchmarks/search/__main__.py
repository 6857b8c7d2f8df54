"""`python -m benchmarks.search`: compute to a reference score, and what racing costs and saves."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.search.record import pack, record
from benchmarks.search.replay import Make, Ours, Recorded, Stock, reached, replays
from metasearch.rng import Stream
from metasearch.search.advisors import TPE, Median, NoPruner, RandomSearch
from metasearch.search.process import limit_threads
from metasearch.search.racing import Racing

TRIALS = 40
STOCK = "OptunaSearch + ASHA"
PLAYERS: dict[str, Make] = {
    "ours: TPE, median, race": lambda d, s: Ours(
        d, s, TPE(startup_trials=8), Median(startup_trials=3), Racing()
    ),
    "ours: TPE, race": lambda d, s: Ours(d, s, TPE(startup_trials=8), NoPruner(), Racing()),
    "ours: TPE, median": lambda d, s: Ours(
        d, s, TPE(startup_trials=8), Median(startup_trials=3), None
    ),
    STOCK: Stock,
    "random, median": lambda d, s: Ours(d, s, RandomSearch(), Median(startup_trials=3), None),
    "random, no stops": lambda d, s: Ours(d, s, RandomSearch(), NoPruner(), None),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Record, or replay and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--record", type=Path, help="train every recipe of the grid into this file")
    parser.add_argument("--pack", type=Path, help="make curves.npz of such a file")
    parser.add_argument("--seeds", type=int, default=100)
    asked = parser.parse_args(arguments)
    if asked.record or asked.pack:
        limit_threads(1)
        if asked.record:
            record(asked.record)
        if asked.pack:
            pack(asked.pack)
        return 0
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    data = Recorded.load()
    compare(data, asked.seeds)
    race(data, asked.seeds)
    return 0


def compare(data: Recorded, seeds: int) -> None:
    """The table of compute until a reference score is held for good."""
    found = {name: list(replays(make, data, seeds, TRIALS)) for name, make in PLAYERS.items()}
    best = np.sort(data.confirmed)
    references = {
        f"median end of {STOCK}": float(
            np.median([data.confirmed[p.winner] for p in found[STOCK]])
        ),
        "third best recipe": float(best[2]),
    }
    recipes, rungs, tasks = data.search.shape
    print(
        f"{recipes} recorded recipes, {rungs} rungs, {tasks} tasks; {TRIALS} trials, {seeds} seeds"
    )
    for what, score in references.items():
        print(f"\nCPU seconds until {score:.2f} is confirmed ({what})")
        stock = np.array([reached(p, data, score) for p in found[STOCK]])
        for name, played in found.items():
            mine = np.array([reached(p, data, score) for p in played])
            low, ratio, high = _ratio(mine, stock)
            never = np.mean(np.isinf(mine))
            end = np.median([data.confirmed[p.winner] for p in played])
            total = np.median([p.moments[-1].seconds for p in played])
            print(
                f"  {name:26} median {np.median(mine):7.1f}  ratio {ratio:5.2f} [{low:.2f}, "
                f"{high:.2f}]  never {never:4.0%}  in the end {end:6.2f} after {total:6.1f} s"
            )


def _ratio(mine: np.ndarray, stock: np.ndarray) -> tuple[float, float, float]:
    """Of medians, with the 95 % interval of resampled seeds (low, middle, high)."""
    draw = Stream(0).at("ratio").numpy()
    n = len(mine)
    ratios = [
        np.median(mine[draw.integers(0, n, n)]) / np.median(stock[draw.integers(0, n, n)])
        for _ in range(2000)
    ]
    low, high = np.nanquantile(ratios, [0.025, 0.975])
    return float(low), float(np.median(mine) / np.median(stock)), float(high)


def race(data: Recorded, seeds: int) -> None:
    """Whether racing finds the same winner among the same trials, and what it saves."""
    free = replays(lambda d, s: Ours(d, s, RandomSearch(), NoPruner(), None), data, seeds, TRIALS)
    raced = replays(
        lambda d, s: Ours(d, s, RandomSearch(), NoPruner(), Racing()), data, seeds, TRIALS
    )
    pairs = list(zip(free, raced, strict=True))
    same = np.mean([a.winner == b.winner for a, b in pairs])
    judged = np.mean([b.judged for _, b in pairs])
    spent = np.mean([b.moments[-1].seconds / a.moments[-1].seconds for a, b in pairs])
    print(f"\nracing, the same trials with and without ({seeds} seeds)")
    print(
        f"  the same winner in {same:.0%}; tasks judged {judged:.0%} of all, CPU time {spent:.0%}"
    )


if __name__ == "__main__":
    sys.exit(main())
