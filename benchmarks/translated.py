"""Does meta-training help to translate? `python -m benchmarks.translated --seconds 240`.

The translators of the middle of search_spaces/cyclegan.yaml, adapted to ten unpaired letters of
each of two designs that were never seen, from two starts: fresh ones, which leave every image as it
is, and those that so many seconds of processor time of meta-training lead to. The error is that of
`paired`: of other letters, whose truth is known and was never learned from. OUT gets a sheet: what
was given, above what it became, and above what it should have become.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from benchmarks.families import trained
from benchmarks.recipes import SPACES, recipe
from metasearch.interval import Interval, mean_interval, paired_difference
from metasearch.observe.grid import sample_grid, to_png
from metasearch.scores import SCORES
from metasearch.search.process import keep_freed_memory
from metasearch.tasks.base import Split
from metasearch.trial.config import Judging, TrialConfig
from metasearch.trial.judge import Panel, judge
from metasearch.trial.report import SampleGrid


def errors(
    config: TrialConfig, seconds: float, split: Split
) -> tuple[np.ndarray, np.ndarray, SampleGrid]:
    """Before and after adapting, by task, and pictures, of what so many seconds lead to."""
    trial, bench = trained(config, seconds)
    panel = Panel.gather(config, bench.data, None, split, trial.device)
    verdicts = judge(trial.practice.crown()[0].adapter, config.engine, panel)
    return verdicts.before["paired"], verdicts.after["paired"], verdicts.grid


def table(untouched: np.ndarray, after: Mapping[str, np.ndarray]) -> str:
    """A row for each start, and the last against each of the others."""
    told = [f"| images left as they are | {_told(mean_interval(untouched))} | |"]
    for start, found in after.items():
        gained = _gap(found, untouched)
        told.append(f"| {start} | {_told(mean_interval(found))} | {gained} |")
    *others, last = after
    told += [f"| {last} minus {start} | {_gap(after[last], after[start])} | |" for start in others]
    return "\n".join(told)


def _told(x: Interval) -> str:
    return f"{x.mean:.3f} [{x.low:.3f}, {x.high:.3f}]"


def _gap(a: np.ndarray, b: np.ndarray) -> str:
    found = paired_difference(a, b)
    return _told(Interval(found.mean, found.low, found.high))


def main() -> None:
    """Print the table, and keep the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=240, help="of meta-training (240)")
    parser.add_argument("--size", type=int, default=16, help="pixels a side (16)")
    parser.add_argument("--tasks", type=int, default=48, help="judged, at most (48)")
    parser.add_argument("--split", choices=get_args(Split), default="search")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-translated"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    config = recipe(SPACES / "cyclegan.yaml", options.size, None, None)
    assert config is not None, "cyclegan.yaml needs no data"
    judging = Judging(tasks=options.tasks, samples=config.tasks.query)
    config = replace(config, score=SCORES["paired"](), judging=judging)
    untouched, fresh, _ = errors(config, 0, options.split)
    before, adapted, grid = errors(config, options.seconds, options.split)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.split}.png").write_bytes(to_png(sample_grid(grid)))
    print(
        f"| {options.split} | error, light x 100 | minus images left as they are |\n|---|---|---|"
    )
    starts = {
        "a fresh start, adapted": fresh,
        "meta-trained, not adapted": before,
        "meta-trained, adapted": adapted,
    }
    print(table(untouched, starts))


if __name__ == "__main__":
    main()
