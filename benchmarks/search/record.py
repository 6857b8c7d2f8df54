"""The learning curves of real trials, task by task: all recipes of small grids, trained once.

The files `GRID.npz` beside this one were made by it, so that whoever replays searches needs no
training.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from metasearch import space
from metasearch.search.config import SearchFile
from metasearch.search.files import append_line, read_lines, to_json

HERE = Path(__file__).parent

# Draws are finite: each sampler can be asked, and each answer is known.
DRAWN = """
search: {name: recorded}
trial:
  tasks: {name: glyphs, size: 20, shot: 5, query: 10}
  score: mmd
  judging: {tasks: 48, samples: 16}
  budget: {gradients: 30000, reports: 6, tasks_per_step: 8}
  outer: {lr: {choice: [0.0005, 0.0015]}}
  models:
    - name: {choice: [vae, gan]}
      latent: {choice: [8, 32]}
      net: {name: mlp, hidden: 64}
  algorithms:
    - name: {choice: [joint, reptile, maml]}
      inner:
        optimizer: adam
        lr: {choice: [0.003, 0.01, 0.03]}
        steps: 3
        test_steps: 10
"""
LIKELY = """
search: {name: recorded}
trial:
  seed: 1
  tasks: {name: glyphs, size: 16, shot: 5, query: 10}
  score: nll
  judging: {tasks: 48, samples: 16}
  budget: {gradients: 24000, reports: 6, tasks_per_step: 8}
  outer: {lr: {choice: [0.0003, 0.001, 0.003]}}
  models:
    - name: vae
      latent: {choice: [4, 16]}
      beta: {choice: [0.3, 1.0, 3.0]}
      net: {name: mlp, hidden: 64}
  algorithms:
    - name: {choice: [joint, reptile, maml]}
      inner:
        optimizer: {choice: [adam, sgd]}
        lr: {choice: [0.003, 0.03]}
        steps: 3
        test_steps: 10
"""
GRIDS = {"drawn": DRAWN, "likely": LIKELY}


def recipes(grid: str) -> tuple[SearchFile, list[dict[str, Any]]]:
    """The search file, and the values of its draws in all recipes there are."""
    file = SearchFile.from_yaml(GRIDS[grid])
    return file, list(space.recipes(file.space))


def record(grid: str, file: Path) -> None:
    """Train what is not in `file` yet; a line for each recipe."""
    from metasearch.trial.judge import Panel, measure
    from metasearch.trial.loop import Trial, bench_for

    search, todo = recipes(grid)
    known = [line["params"] for line in read_lines(file)]
    bench = bench_for(search.config(todo[0]))
    for params in (params for params in todo if params not in known):
        config = search.config(params)
        began = time.process_time()
        trial = Trial.open(config, bench)
        reports = []
        while not trial.finished:
            reports.append(trial.advance())
        trained = time.process_time()
        panel = Panel.gather(config, bench.data, bench.features, "confirm", trial.device)
        confirmed = measure(trial.practice.population.champion().adapter, config.engine, panel)
        line = {
            "params": params,
            "search": [list(r.per_task.values()) for r in reports],
            "confirm": list(confirmed["per_task"].values()),
            "cpu_s": trained - began,
            "judging_s": time.process_time() - trained,
        }
        append_line(file, to_json(line))
        print(f"{reports[-1].score:8.2f} {trained - began:6.1f} s", file=sys.stderr)


def pack(grid: str, file: Path) -> None:
    """From lines to a small file of arrays, rounded to hundredths."""
    by_params = {json.dumps(line["params"]): line for line in read_lines(file)}
    lines = [by_params[json.dumps(params)] for params in recipes(grid)[1]]
    np.savez_compressed(
        HERE / f"{grid}.npz",
        search=np.array([line["search"] for line in lines], np.float32).round(2),
        confirm=np.array([line["confirm"] for line in lines], np.float32).round(2),
        cpu_s=np.array([line["cpu_s"] for line in lines], np.float32),
        judging_s=np.array([line["judging_s"] for line in lines], np.float32),
    )
