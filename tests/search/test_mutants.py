"""Sixty ways to get a search file wrong: each is told at its own line."""

from __future__ import annotations

import pytest

from metasearch.errors import ConfigError
from metasearch.search.config import SearchFile

SOUND = """\
search:
  trials: 12
  time: 10m
  seed: 3
  sampler: {name: tpe, startup_trials: 4}
  pruner: {name: median, warmup: 1}
  backend: local
  confirm: {top: 3}
  baselines: [joint]
trial:
  seed: 0
  tasks: {name: glyphs, size: 16, shot: 5, query: 10}
  score: mmd
  budget: {gradients: 5000, reports: 4, tasks_per_step: 8}
  outer: {lr: {log_uniform: [1e-4, 1e-2]}, clip: 10.0}
  judging: {tasks: 8, samples: 16}
  models:
    - name: vae
      latent: {choice: [4, 8]}
      beta: 1.0
      net: {name: mlp, hidden: 32}
  algorithms:
    - name: reptile
      inner: {steps: 3, lr: 0.1}
  strategy: {tasks: random}
"""

MUTANTS = [
    ("trials: 12", "trials: twelve"),
    ("trials: 12", "trials: 0"),
    ("trials: 12", "trials: 1.5"),
    ("trials: 12", "trails: 12"),
    ("trials: 12", "trials: {choice: [1, 2]}"),
    ("time: 10m", "time: soon"),
    ("time: 10m", "time: -5"),
    ("time: 10m", "tiem: 10m"),
    ("seed: 3", "seed: three"),
    ("name: tpe", "name: tpee"),
    ("startup_trials: 4", "startup_trials: -1"),
    ("startup_trials: 4", "startup: 4"),
    ("name: median", "name: medain"),
    ("warmup: 1", "warmup: one"),
    ("warmup: 1", "warm_up: 1"),
    ("backend: local", "backend: slurm"),
    ("backend: local", "backend: [local]"),
    ("confirm: {top: 3}", "confirm: {top: 0}"),
    ("confirm: {top: 3}", "confirm: {tops: 3}"),
    ("confirm: {top: 3}", "confirm: 3"),
    ("baselines: [joint]", "baselines: [jiont]"),
    ("baselines: [joint]", "baselines: joint"),
    ("  seed: 0", "  seed: {integers: [0, 9]}"),
    ("  seed: 0", "  seed: null"),
    ("name: glyphs", "name: glpyhs"),
    ("name: glyphs", "nmae: glyphs"),
    ("size: 16", "size: 4"),
    ("shot: 5", "shot: 0"),
    ("shot: 5", "shots: 5"),
    ("shot: 5", "shot: {choice: [5, 10]}"),
    ("query: 10", "query: ten"),
    ("score: mmd", "score: mdm"),
    ("score: mmd", "scroe: mmd"),
    ("score: mmd", "score: [mmd]"),
    ("score: mmd", "score: {choice: [mmd, kid]}"),
    ("gradients: 5000", "gradients: 0"),
    ("gradients: 5000", "gradients: {integers: [1, 9]}"),
    ("reports: 4", "reports: four"),
    ("tasks_per_step: 8", "tasks_per_steps: 8"),
    ("log_uniform: [1e-4, 1e-2]", "log_uniform: [1e-2, 1e-4]"),
    ("log_uniform: [1e-4, 1e-2]", "log_uniform: [0, 1e-2]"),
    ("log_uniform: [1e-4, 1e-2]", "log_uniform: [1e-4]"),
    ("log_uniform: [1e-4, 1e-2]", "loguniform: [1e-4, 1e-2]"),
    ("log_uniform: [1e-4, 1e-2]", "log_uniform: ['1e-4', 1e-2]"),
    ("clip: 10.0", "clip: -1"),
    ("clip: 10.0", "clip: yes"),
    ("samples: 16", "samples: 0"),
    ("judging: {tasks: 8", "judging: {task: 8"),
    ("- name: vae", "- name: veа"),
    ("latent: {choice: [4, 8]}", "latent: {choice: []}"),
    ("latent: {choice: [4, 8]}", "latent: {choice: [4, 4]}"),
    ("latent: {choice: [4, 8]}", "latent: {choice: [4, many]}"),
    ("latent: {choice: [4, 8]}", "latnet: {choice: [4, 8]}"),
    ("latent: {choice: [4, 8]}", "latent: {uniform: [4, 8]}"),
    ("beta: 1.0", "beta: one"),
    ("name: mlp", "name: mpl"),
    ("hidden: 32", "hiden: 32"),
    ("- name: reptile", "- name: reptil"),
    ("steps: 3", "steps: 3.5"),
    ("lr: 0.1", "rate: 0.1"),
    ("strategy: {tasks: random}", "strategy: {tasks: rando}"),
    ("strategy: {tasks: random}", "strategy: {task: random}"),
    ("strategy: {tasks: random}", "\tstrategy: {tasks: random}"),
]

MISSING_TOO = {"scroe: mmd"}


def test_the_file_is_sound_and_there_are_sixty_ways_to_spoil_it(tmp_path):
    (tmp_path / "sound.yaml").write_text(SOUND, "utf-8")
    assert SearchFile.load(tmp_path / "sound.yaml").draws
    assert len(set(MUTANTS)) >= 60


@pytest.mark.parametrize(("before", "after"), MUTANTS, ids=[after for _, after in MUTANTS])
def test_what_is_wrong_is_told_at_its_line_in_words(tmp_path, before, after):
    path = tmp_path / "wrong.yaml"
    path.write_text(SOUND.replace(before, after, 1), "utf-8")
    line = SOUND[: SOUND.index(before)].count("\n") + 1
    with pytest.raises(ConfigError) as told:
        SearchFile.load(path)
    places = [text for text in str(told.value).splitlines() if text.startswith(f"{path}:")]
    # A required key that is misspelled is missing, too, which is told first, where it should be.
    first = 1 if after in MISSING_TOO else 0
    assert places[first].startswith(f"{path}:{line}:")
    assert "pydantic" not in str(told.value)
