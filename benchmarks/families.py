"""Every family for the same seconds of one core: `python -m benchmarks.families --seconds 120`.

The recipe of a family is the middle of its shipped search space (the first option of each choice),
meta-trained until the processor time is up, then judged on the `search` tasks, which it never saw:
before adapting, after, the paired difference with its interval, and the floors. A picture of each
family goes to OUT. With ``--omniglot PATH`` the files over Omniglot are taken too.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metasearch import space
from metasearch.interval import mean_interval, paired_difference
from metasearch.observe.grid import sample_grid, to_png
from metasearch.search.config import SearchFile
from metasearch.trial.anchors import anchors_of
from metasearch.trial.config import Budget, TrialConfig, from_data
from metasearch.trial.judge import judge
from metasearch.trial.loop import Trial, bench_for

SPACES = Path(__file__).parents[1] / "search_spaces"
NOT_A_FAMILY = ("quickstart", "strategies", "regimes", "cgans")


class Middle:
    """Decides on every draw: the first option, the middle of a range."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """The mean, geometric on a logarithmic scale."""
        del name
        return float(np.sqrt(low * high)) if log else (low + high) / 2

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Likewise, as a whole number."""
        return round(self.suggest_float(name, low, high, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """What stands first."""
        del name
        return choices[0]


def recipe(file: Path, omniglot: str | None) -> TrialConfig:
    """The middle of a search space, with a budget that time ends."""
    settings = []
    if omniglot and file.stem.startswith("omniglot"):
        settings.append(f"trial.tasks.path={omniglot}")
    found = space.sample(SearchFile.load(file, settings).space, Middle())
    config = from_data(found)
    budget = Budget(gradients=10**12, reports=1, tasks_per_step=config.budget.tasks_per_step)
    return replace(config, budget=budget)


def measure(config: TrialConfig, seconds: float, out: Path) -> dict[str, Any]:
    """Meta-train for so many seconds of processor time, and judge."""
    bench = bench_for(config)
    trial = Trial.open(config, bench)
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        played = trial.practice.step(trial.meta_steps, min(spent / seconds, 1.0))
        trial.meta_steps += 1
        trial.gradients += played.gradients
    champion, _ = trial.practice.crown()
    verdicts = judge(champion.adapter, config.engine, trial.panel)
    out.with_suffix(".png").write_bytes(to_png(sample_grid(verdicts.grid)))
    name = config.score.name
    after, before = verdicts.after[name], verdicts.before[name]
    floors = anchors_of(config, bench, champion.adapter.learner, {"search": trial.panel})
    gap = paired_difference(after, before)
    return {
        "meta_steps": trial.meta_steps,
        "score": name,
        "before": list(mean_interval(before)),
        "after": list(mean_interval(after)),
        "gap": [gap.mean, gap.low, gap.high],
        "floors": {floor: rows["search"]["mean"] for floor, rows in floors.items()},
        "diverged": verdicts.diverged,
    }


def files(options: argparse.Namespace) -> Iterator[Path]:
    """The search spaces of families, without those whose data is not there."""
    for file in sorted(options.files or SPACES.glob("*.yaml")):
        if file.stem in NOT_A_FAMILY:
            continue
        if "path:" in file.read_text("utf-8") and not options.omniglot:
            print(f"{file.stem}: skipped, give --omniglot PATH")
            continue
        yield file


def main() -> None:
    """Measure, print a line each, and keep all in OUT/families.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=120, help="of processor time, each")
    parser.add_argument("--omniglot", help="path of Omniglot")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-families"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{'':18} {'before':>8} {'after':>8} {'after - before':>24}  floors")
    every = {}
    for file in files(options):
        config = recipe(file, options.omniglot)
        row = every[file.stem] = measure(config, options.seconds, options.out / file.stem)
        mean, low, high = row["gap"]
        sure = "settled" if low > 0 or high < 0 else ""
        floors = ", ".join(f"{name} {value:.1f}" for name, value in row["floors"].items())
        print(
            f"{file.stem:18} {row['before'][0]:8.2f} {row['after'][0]:8.2f} {mean:8.2f} "
            f"[{low:.2f}, {high:.2f}] {sure:7}  {row['score']}; {floors}; "
            f"{row['meta_steps']} meta-steps",
            flush=True,
        )
        (options.out / "families.json").write_text(json.dumps(every, indent=1))


if __name__ == "__main__":
    main()
