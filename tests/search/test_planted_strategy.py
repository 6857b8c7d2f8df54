"""A search over strategies finds the one that is right, where one is planted to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metasearch import space
from metasearch.rng import Stream
from metasearch.search.config import SearchFile
from metasearch.search.ledger import open_run
from metasearch.search.run import Plan, run_search
from metasearch.trial.report import Report
from tests.search.planted import report

TRIAL = "tests.search.test_planted_strategy:trial"
RIGHT = {"tasks": "diverse", "algorithms": "race", "models": "mixture"}
GAIN = {"tasks": 2.0, "algorithms": 1.5, "models": 1.5}  # nats, against a noise of 0.3
SPACES = Path(__file__).parents[2] / "search_spaces"
BUDGET = 60  # trials, as the shipped space asks


def trial(config: dict[str, Any], resume: Path | None, **how: object) -> Iterator[Report]:
    """A learning curve that the planted rules end lower, with noise from trial to trial."""
    del resume, how
    rules = {axis: rule for axis, rule in config["strategy"].items() if isinstance(rule, dict)}
    gain = sum(GAIN[axis] for axis, rule in rules.items() if rule["name"] == RIGHT[axis])
    # Two recipes never equal each other in all their settings, so this is fresh in every trial.
    noise = 0.3 * float(Stream(config["seed"]).at(repr(sorted(rules.items()))).numpy().normal())
    for made in range(1, 4):
        yield report(config, made, 3, 100.0 - gain * made / 3 + noise)


def winner(seed: int, folder: Path) -> dict[str, str]:
    tree = space.load(SPACES / "strategies.yaml").tree
    tree["search"] = {
        "name": "planted", "backend": "local", "trials": BUDGET, "seed": seed,
    }  # fmt: skip
    run_search(Plan.of(SearchFile.from_yaml(space.dump(tree))), folder, trial=TRIAL)
    (best,) = open_run(folder).best(1)
    return {axis: best.info.config["strategy"][axis]["name"] for axis in RIGHT}


@pytest.mark.slow
def test_the_study_finds_the_planted_strategy_in_nine_of_ten_seeds(tmp_path):
    found = [winner(seed, tmp_path / str(seed)) for seed in range(10)]
    assert sum(rules == RIGHT for rules in found) >= 9, found


def test_the_study_finds_the_planted_strategy(tmp_path):
    assert winner(0, tmp_path / "run") == RIGHT
