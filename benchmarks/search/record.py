"""The learning curves of real trials, task by task: all recipes of a small grid, trained once.

`curves.npz` beside this file was made by it, so that whoever replays searches needs no training.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from metasearch.search.config import SearchFile
from metasearch.search.files import append_line, read_lines, to_json

# Draws are finite and unconditional: each sampler can be asked, and each answer is known.
SPACE = """
search: {name: recorded}
trial:
  tasks: {name: glyphs, size: 20, shot: 5, query: 10}
  score: mmd
  judging: {tasks: 48, samples: 16}
  budget: {gradients: 30000, reports: 6, tasks_per_step: 8}
  outer: {lr: {choice: [0.0005, 0.0015, 0.005]}}
  models:
    - name: {choice: [vae, gan]}
      latent: {choice: [8, 32]}
      net: {name: mlp, hidden: 64}
  algorithms:
    - name: {choice: [joint, reptile, maml]}
      inner:
        optimizer: adam
        lr: {choice: [0.003, 0.01, 0.03]}
        steps: {choice: [1, 3]}
        test_steps: 10
"""


def recipes() -> tuple[SearchFile, list[dict[str, Any]]]:
    """The search file, and the values of its draws in all recipes there are."""
    file = SearchFile.from_yaml(SPACE)
    options = [draw.options for draw in file.draws]
    paths = [draw.path for draw in file.draws]
    return file, [dict(zip(paths, p, strict=True)) for p in itertools.product(*options)]


def record(file: Path) -> None:
    """Train what is not in `file` yet; a line for each recipe."""
    from metasearch.trial.judge import Panel, measure
    from metasearch.trial.loop import Trial, bench_for

    search, todo = recipes()
    known = len(list(read_lines(file)))
    bench = bench_for(search.config(todo[0]))
    for number in np.random.default_rng(0).permutation(len(todo))[known:]:
        params = todo[number]
        config = search.config(params)
        began = time.process_time()
        trial = Trial.open(config, bench)
        reports = []
        while not trial.finished:
            reports.append(trial.advance())
        trained = time.process_time()
        panel = Panel.gather(config, bench.data, bench.features, "confirm", trial.device)
        adapter = trial.practice.population.champion().adapter
        confirmed = measure(adapter, config.engine, panel)
        line = {
            "number": int(number),
            "params": params,
            "steps": [r.step for r in reports],
            "search": [list(r.per_task.values()) for r in reports],
            "confirm": list(confirmed["per_task"].values()),
            "cpu_s": trained - began,
            "judging_s": time.process_time() - trained,
        }
        append_line(file, to_json(line))
        print(f"{number:4d} {reports[-1].score:8.2f} {trained - began:6.1f} s", file=sys.stderr)
