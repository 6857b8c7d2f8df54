"""Published few-shot likelihoods of Omniglot, and what recipes of this package reach in a budget.

    python -m benchmarks.published --omniglot FOLDER-OR-NPZ
    python -m benchmarks.published --omniglot omniglot.npz --seconds 120 --episodes 200

Trains each recipe for `--seconds` of CPU time on one thread, keeps the moment that was best on
`search` alphabets, and prints nats per image of `test` alphabets after t = 0 ... 9 others of the
class: bounds of 1000 importance samples over 1000 episodes, images drawn without replacement, and
with it as in the published table. Given images_background.zip and images_evaluation.zip, the test
alphabets are the 20 of the evaluation set, as published; of the background set alone, three of its
30 alphabets are, which no other figure compares with.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from metasearch.algorithms.base import Adapter
from metasearch.registry import to_data
from metasearch.search.process import keep_freed_memory
from metasearch.tasks.omniglot import Omniglot
from metasearch.trial.config import TrialConfig, from_data
from metasearch.trial.gmn import Protocol, few_shot_likelihood, floors
from metasearch.trial.loop import Bench, Trial, bench_for

# Bartunov & Vetrov, "Fast Adaptation in Generative Models with Generative Matching Networks", 2017,
# table 1, of one class in training and in test: t -> nats; drawn with replacement.
PUBLISHED: Mapping[str, Mapping[int, float]] = {
    "GMN, full matching": {0: 90.9, 1: 82.8, 2: 78.8, 3: 76.4, 4: 74.2, 9: 64.6},
    "GMN, averaging": {0: 91.3, 1: 83.9, 2: 82.3, 3: 81.8, 4: 81.1, 9: 80.3},
    "VAE of the same nets": dict.fromkeys(range(10), 89.2),
}
PUBLISHED_IMAGES = 750 * 121 * 20 * 10  # epochs, batches, episodes, images: what those were shown

CONV = {"name": "conv", "width": 16}
FEW_STEPS = {"steps": 5, "lr": 0.003, "clip": 10.0}
STILL = {"steps": 0}
VAE = {"name": "vae", "latent": 40, "net": CONV, "warmup": 0.1}
SETVAE = {"name": "setvae", "latent": 40, "features": 200, "net": CONV, "warmup": 0.1}
RECIPES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "VAE, fine-tuned": (VAE, {"name": "joint", "inner": FEW_STEPS}),
    "VAE, FOMAML": (VAE, {"name": "maml", "first_order": True, "inner": FEW_STEPS}),
    "VAE, Reptile": (VAE, {"name": "reptile", "inner": FEW_STEPS}),
    "set-VAE, averaging": (
        {**SETVAE, "reading": {"name": "average"}},
        {"name": "joint", "inner": STILL},
    ),
    "set-VAE, matching": (
        {**SETVAE, "reading": {"name": "matching"}},
        {"name": "joint", "inner": STILL},
    ),
}
UNTOUCHED = {"VAE, fine-tuned": "VAE"}  # recipe -> the row of it without its inner steps


@dataclass(frozen=True)
class Row:
    """One recipe, trained and judged."""

    name: str
    curves: Mapping[str, Sequence[Mapping[str, float]]]  # sampler -> nats at each t
    images: int  # that it was shown, each as often as it was
    seconds: float  # of CPU time, judging on `search` included

    def line(self, sampler: str) -> str:
        """Nats at each t."""
        nats = " ".join(f"{at['mean']:6.1f}" for at in self.curves[sampler])
        return f"{self.name:<24} {nats}"

    def longer(self) -> str:
        """What it would take to be shown as many images as the published models were."""
        hours = self.seconds * PUBLISHED_IMAGES / max(self.images, 1) / 3600
        return (
            f"{self.name:<24} {self.seconds:7.0f} s of CPU, {self.images / 1e3:8.0f} k images; "
            f"{PUBLISHED_IMAGES / 1e6:.1f} M images, as published, would take {hours:6.1f} h"
        )


def recipe(name: str, source: Omniglot, gradients: int) -> TrialConfig:
    """The trial of a row."""
    model, algorithm = RECIPES[name]
    return from_data(
        {
            "tasks": to_data(source),
            "models": [model],
            "algorithms": [algorithm],
            "score": {"name": "nll", "samples": 16},
            "budget": {"gradients": gradients, "reports": 8, "tasks_per_step": 20},
            "judging": {"tasks": 48, "samples": 1},
        }
    )


def train(name: str, source: Omniglot, bench: Bench, seconds: float) -> tuple[Adapter, int, float]:
    """The adapter that was best on `search`, images shown, and CPU seconds spent."""
    budget = _affordable(recipe(name, source, 10**9), bench, seconds)
    config = recipe(name, source, budget)
    trial, best, found = Trial.open(config, bench), math.inf, None
    began = time.process_time()
    while not trial.finished:
        report = trial.advance()
        if report.score < best:
            best, found = report.score, report.snapshot
        print(
            f"  {name}: {report.step / budget:4.0%}  {report.score:.2f}",
            file=sys.stderr,
            flush=True,
        )
    spent = time.process_time() - began
    if found is not None:
        trial.restore(found)
    adapter = trial.practice.crown()[0].adapter
    assert isinstance(adapter, Adapter), "a trial of one model stands for one"
    per_step = config.budget.tasks_per_step * (source.shot + source.query)
    return adapter, trial.meta_steps * per_step, spent


def _affordable(config: TrialConfig, bench: Bench, seconds: float) -> int:
    """How many gradient evaluations fit into so much CPU time, from the first few meta-steps."""
    trial = Trial.open(replace(config, seed=config.seed + 1), bench)
    trial.meta_step()  # what engines find out once
    before, began = trial.gradients, time.process_time()
    for _ in range(5):
        trial.meta_step()
    each = (time.process_time() - began) / (trial.gradients - before)
    return max(int(0.9 * seconds / each), trial.gradients)  # the rest goes into judging


def rows(
    names: Sequence[str], source: Omniglot, protocol: Protocol, seconds: float
) -> Iterator[Row]:
    """Train and judge one recipe after another."""
    bench = bench_for(recipe(next(iter(RECIPES)), source, 1))
    for name in names:
        adapter, images, spent = train(name, source, bench, seconds)
        engine = recipe(name, source, 1).engine
        judged = {name: adapter}
        if name in UNTOUCHED:
            judged = {UNTOUCHED[name]: adapter.still(), **judged}
        for row, as_used in judged.items():
            curves = few_shot_likelihood(as_used, engine, bench.data, "test", protocol)
            yield Row(row, curves, images, spent)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, floors first."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--omniglot", required=True, help="your copy: zips, folders, or an .npz")
    parser.add_argument("--seconds", type=float, default=1200, help="CPU time of a recipe (1200)")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--importance", type=int, default=1000, help="samples of a bound (1000)")
    parser.add_argument("--json", type=Path, help="keep rows with their intervals here")
    parser.add_argument("--only", nargs="*", choices=RECIPES, default=list(RECIPES))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    source = Omniglot(path=asked.omniglot, shot=9, query=5, anchor=0)
    protocol = Protocol(episodes=asked.episodes, importance=asked.importance)
    done = report(asked.only, source, protocol, asked.seconds, asked.json)
    for row in done:
        if row.images:
            print(row.longer())
    return 0


def report(
    names: Sequence[str],
    source: Omniglot,
    protocol: Protocol,
    seconds: float,
    kept: Path | None,
) -> Sequence[Row]:
    """Print rows as they come, then what is published."""
    data = source.open()
    test = data.tasks("test")
    groups = {name.rsplit("/", 1)[0] for name in test}
    print(
        f"nats per image of {len(test)} characters of {len(groups)} unseen alphabets; bounds of "
        f"{protocol.importance} samples, {protocol.episodes} episodes"
    )
    if len(groups) != 20:
        print("not the published test alphabets: compare lines with each other, not with theirs")
    done = [Row(name, curves, 0, 0.0) for name, curves in floors(data, "test", protocol).items()]
    head = " ".join(f"{f't={t}':>6}" for t in range(protocol.length))
    print(f"\n{'without replacement':<24} {head}")
    for row in done:
        print(row.line("without_replacement"), flush=True)
    for row in rows(names, source, protocol, seconds):
        done.append(row)
        print(row.line("without_replacement"), flush=True)
        if kept:
            kept.write_text(json.dumps([asdict(row) for row in done], indent=1))
    print(f"\n{'with replacement':<24} {head}")
    for row in done:
        print(row.line("with_replacement"))
    for name, at in PUBLISHED.items():
        known = (f"{at[t]:6.1f}" if t in at else f"{'':6}" for t in range(protocol.length))
        print(f"{name:<24} {' '.join(known).rstrip()}  (published)")
    print()
    return done


if __name__ == "__main__":
    sys.exit(main())
