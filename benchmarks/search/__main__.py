"""`python -m benchmarks.search`: compute to a reference score, and what racing costs and saves."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.desk import ours
from benchmarks.search.real import SEARCHES
from benchmarks.search.record import GRIDS, pack, record
from benchmarks.search.replay import Played, Recorded, Stock, play, reached
from metasearch.rng import Stream
from metasearch.search.advisors import TPE, RandomSearch
from metasearch.search.process import limit_threads
from metasearch.search.stopping import Median, NoPruner

TRIALS = 40  # whole trials that the compute of a search is enough for
ASKED = 100  # trials that a search asks for, most of which it will not train to their ends
TRIALS_RACED = 24, 40
GOOD = 24  # one in so many recipes is a good one
STOCK = "OptunaSearch + ASHA"
DEFAULT = "ours, as by default"
RANDOM: dict[str, Any] = {"sampler": RandomSearch(), "pruner": NoPruner()}
Player = Callable[[Recorded, int, float], Played]
PLAYERS: dict[str, Player] = {
    DEFAULT: lambda d, s, cpu: ours(d, s, seconds=cpu, trials=ASKED),
    "ours: tpe, race": lambda d, s, cpu: ours(d, s, seconds=cpu, trials=ASKED, sampler=TPE()),
    "ours: median alone": lambda d, s, cpu: ours(d, s, seconds=cpu, pruner=Median(), race=None),
    "ours: random, race": lambda d, s, cpu: ours(d, s, seconds=cpu, trials=ASKED, **RANDOM),
    STOCK: lambda d, s, cpu: play(Stock(d, s), d, seconds=cpu),
    "random, no stops": lambda d, s, cpu: ours(d, s, seconds=cpu, race=None, **RANDOM),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Record, or replay and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--grid", choices=GRIDS, action="append", help="all, unless some are named")
    parser.add_argument("--record", type=Path, help="train every recipe of a grid into this file")
    parser.add_argument("--pack", type=Path, help="make the recording of a grid of such a file")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=100, help="the first of the seeds")
    parser.add_argument("--real", type=int, default=0, help="train so many whole searches of each")
    parser.add_argument("--only", help="leave out searches without this in their names")
    parser.add_argument("--raced", action="store_true", help="only what a race changes and saves")
    asked = parser.parse_args(arguments)
    grids = asked.grid or list(GRIDS)
    if asked.record or asked.pack:
        limit_threads(1)
        if asked.record:
            record(grids[0], asked.record)
        if asked.pack:
            pack(grids[0], asked.pack)
        return 0
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    seeds = range(asked.first, asked.first + asked.seeds)
    for grid in grids:
        data = Recorded.load(grid)
        if asked.real:
            real(data, range(asked.first, asked.first + asked.real))
            continue
        players = {n: p for n, p in PLAYERS.items() if n == STOCK or (asked.only or "") in n}
        if not asked.raced:
            compare(data, seeds, players)
        for trials in TRIALS_RACED:
            race(data, seeds, trials)
    return 0


def compare(data: Recorded, seeds: range, players: dict[str, Player]) -> None:
    """The table of compute until a good recipe is held for good."""
    budget = TRIALS * float(data.cpu_s.mean())
    found = {n: [p(data, seed, budget) for seed in seeds] for n, p in players.items()}
    recipes, rungs, tasks = data.search.shape
    print(
        f"\n{data.grid}: {recipes} recorded recipes, {rungs} rungs, {tasks} tasks; "
        f"{budget:.0f} CPU seconds a search, {len(seeds)} seeds from {seeds[0]}"
    )
    references = {
        f"one of the {recipes // GOOD} best": float(np.sort(data.confirmed)[recipes // GOOD - 1]),
        f"median end of {STOCK}": float(
            np.median([data.confirmed[p.winner] for p in found[STOCK]])
        ),
    }
    for what, score in references.items():
        print(f"CPU seconds until {score:.2f} is confirmed ({what})")
        stock = _seconds(found[STOCK], data, score)
        for name, played in found.items():
            mine = _seconds(played, data, score)
            ends = np.median([data.confirmed[p.winner] for p in played])
            all_mine, all_stock = np.minimum(mine, budget), np.minimum(stock, budget)
            print(
                f"  {name:22} median {np.median(mine):6.1f}, ratio "
                f"{_ratio(mine, stock, np.median)}; misses as {budget:.0f}: mean "
                f"{all_mine.mean():6.1f}, ratio {_ratio(all_mine, all_stock, np.mean)}; missed "
                f"{np.isinf(mine).mean():4.0%}; in the end {ends:.2f}"
            )


def _seconds(played: Sequence[Played], data: Recorded, score: float) -> np.ndarray:
    return np.array([reached(one, data, score) for one in played])


def _ratio(mine: np.ndarray, stock: np.ndarray, middle: Callable[[np.ndarray], float]) -> str:
    """Of middles, with the 95 % interval of resampled seeds."""
    draw = Stream(0).at("ratio").numpy()
    n = len(mine)
    picks = draw.integers(0, n, (2, 4000, n))
    with np.errstate(invalid="ignore"):
        ratios = [
            middle(mine[a]) / middle(stock[b]) for a, b in zip(picks[0], picks[1], strict=True)
        ]
        low, high = np.nanquantile(ratios, [0.025, 0.975])
        return f"{middle(mine) / middle(stock):.2f} [{low:.2f}, {high:.2f}]"


def race(data: Recorded, seeds: range, trials: int) -> None:
    """Whether racing finds the same winner among the same trials, and what it saves."""
    pairs = [
        (
            ours(data, seed, trials=trials, race=None, **RANDOM),
            ours(data, seed, trials=trials, **RANDOM),
        )
        for seed in seeds
    ]
    same = np.mean([a.winner == b.winner for a, b in pairs])
    worse = np.mean([data.confirmed[b.winner] - data.confirmed[a.winner] for a, b in pairs])
    judged = np.mean([b.judged for _, b in pairs])
    spent = np.mean([b.seconds / a.seconds for a, b in pairs])
    print(
        f"racing, the same {trials} trials with and without: the same winner in {same:.0%}, on "
        f"average {worse:+.2f} worse when confirmed; tasks judged {judged:.0%}, CPU {spent:.0%}"
    )


def real(data: Recorded, seeds: range) -> None:
    """Searches that train, one by one."""
    limit_threads(1)
    good = float(np.sort(data.confirmed)[len(data.confirmed) // GOOD - 1])
    print(
        f"\n{data.grid}: {TRIALS} real trials a search; CPU seconds until {good:.2f} is confirmed"
    )
    for seed in seeds:
        for name, search in SEARCHES.items():
            played = search(data, seed, TRIALS)
            print(
                f"  seed {seed}: {name:20} {reached(played, data, good):6.1f} s of "
                f"{played.seconds:6.1f}; {played.whole} trials whole, {played.judged:.0%} of all "
                f"reports; in the end {data.confirmed[played.winner]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
