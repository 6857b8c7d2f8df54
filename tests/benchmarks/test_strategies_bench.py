"""The comparison of strategies finds what is planted, and nothing where nothing is."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np
import pytest

from benchmarks.strategies import (
    CELLS,
    REGIMES,
    axis_of,
    draw,
    kept,
    recipe,
    run,
    setting,
    table,
    trials,
)
from metasearch.trial.config import from_data, problems
from metasearch.trial.judge import scored
from metasearch.trial.loop import Trial, bench_for


def planted(gain, *, seeds=5, tasks=30):
    rng = np.random.default_rng(0)
    hard = rng.normal(100, 20, tasks)
    found = []
    for seed in range(seeds):
        for cell in CELLS:
            shift = {"models": 30.0}.get(axis_of(cell), 0.0)  # trials of other axes are others
            noise = rng.normal(0, 1, tasks)
            values = hard + shift + noise - gain.get(cell, 0.0)
            per_task = {f"t{i:02d}": float(v) for i, v in enumerate(values)}
            found.append({"regime": "noisy", "cell": cell, "seed": seed, "per_task": per_task})
    return found


def test_a_planted_gain_is_settled_and_the_others_are_not():
    rows = {r["cell"]: r for r in table(planted({"tasks: dro": 1.5}), "noisy")}
    assert rows["tasks: dro"]["high"] < 0
    assert rows["tasks: dro"]["holm"] < 0.05
    assert rows["tasks: dro"]["gap"] == pytest.approx(-1.5, abs=0.4)
    assert sum(r["holm"] < 0.05 for r in rows.values()) == 1


def test_holm_never_makes_a_difference_surer_and_keeps_the_order():
    rows = list(table(planted({"tasks: plr": 0.4, "models: mixture": 0.2}), "noisy"))
    assert all(r["holm"] >= r["p"] for r in rows)
    by_p = sorted(rows, key=lambda r: r["p"])
    assert [r["holm"] for r in by_p] == sorted(r["holm"] for r in rows)


def test_all_that_is_compared_can_be_run():
    for cell in CELLS:
        for regime in REGIMES:
            config = from_data(recipe({"name": "glyphs", "size": 20}, regime, cell, 0, 1000))
            assert not list(problems(config))


def test_random_choice_of_models_is_judged_by_the_mean_of_its_models():
    job = ({"name": "glyphs", "size": 16}, "clean", "models: random", 0, 4000)
    config = from_data(recipe(*job))
    trial = Trial.open(config, bench_for(config))
    while not trial.finished:
        trial.advance()
    adapters = [trial.practice.population.adapter(i, 0) for i in range(3)]
    each = [scored(adapter, config.engine, trial.panel)[0]["nll"] for adapter in adapters]
    assert not np.allclose(each[0], each[1])
    assert list(run(job)["per_task"].values()) == pytest.approx(np.mean(each, 0))


def test_the_picture_shows_every_regime():
    rows = list(table(planted({}), "noisy"))
    assert draw({"noisy": rows, "clean": rows}, CELLS).width > draw({"noisy": rows}, CELLS).width


def test_what_was_run_is_not_run_again(tmp_path):
    source = {"name": "glyphs", "size": 16}
    options = Namespace(
        source=source,
        budget=1,
        out=tmp_path,
        regimes=["clean"],
        cells=list(CELLS)[:2],
        seeds=1,
        processes=1,
        minutes=1.0,
        tell=False,
    )
    store = tmp_path / "trials.jsonl"
    done = [
        {**setting(source, 1), "regime": "clean", "cell": cell, "seed": 0, "per_task": {"t": 1.0}}
        for cell in options.cells
    ]
    store.write_text("".join(json.dumps(t) + "\n" for t in done))
    before = store.read_bytes()
    assert trials(options) == done
    assert store.read_bytes() == before


def test_only_trials_of_one_setting_are_compared(tmp_path):
    glyphs, small = (
        setting({"name": "glyphs", "size": 20}, 100),
        setting({"name": "glyphs", "size": 20}, 50),
    )
    store = tmp_path / "trials.jsonl"
    store.write_text(
        "".join(json.dumps({**s, "seed": i}) + "\n" for i, s in enumerate((glyphs, small)))
    )
    assert [t["seed"] for t in kept(store, glyphs)] == [0]
    assert kept(tmp_path / "none.jsonl", glyphs) == []
