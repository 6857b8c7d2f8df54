"""What `make smoke-families` makes of the shipped files: the same searches, quickly over."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import smoke
from metasearch import space
from metasearch.trial.config import from_data


class Lot:
    """Decides on every draw by lot."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def suggest_float(self, name, low, high, *, log=False):
        return float(self.rng.uniform(low, high))

    def suggest_int(self, name, low, high, *, log=False):
        return int(self.rng.integers(low, high + 1))

    def suggest_categorical(self, name, choices):
        return choices[self.rng.integers(len(choices))]


@pytest.mark.parametrize("file", sorted(smoke.SPACES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_recipe_of_a_shipped_file_adapts_in_few_steps_when_it_is_only_tried(file):
    whole = space.load(file)
    tried = space.apply_overrides(whole, smoke.small(file, None)).tree["trial"]
    drawn = [d.path for d in space.draws(whole.tree["trial"]) if "test_steps" not in d.path]
    assert [d.path for d in space.draws(tried)] == drawn  # all else is searched as it is shipped
    lot = Lot()
    for _ in range(10):
        config = from_data(space.sample(tried, lot))
        assert config.budget.gradients == smoke.SMALL["trial.budget.gradients"]
        assert all(a.inner.at_test().steps <= smoke.STEPS for a in config.algorithms)


def test_the_steps_of_every_algorithm_of_a_file_are_found():
    inner = {"steps": 3, "test_steps": {"integers": [1, 9]}}
    file = {"trial": {"algorithms": [{"choice": [{"inner": inner}, {"inner": inner}]}], "seed": 0}}
    places = [f"trial.algorithms.0.choice.{i}.inner.test_steps" for i in (0, 1)]
    assert list(smoke.adapting(file)) == places
    assert list(smoke.adapting({"trial": {"algorithms": [{"inner": {"steps": 3}}]}})) == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("omniglot-gan", "trial.tasks.path"),
        ("omniglot-rgan", "trial.tasks.source.path"),
        ("rgan-strokes", None),
    ],
)
def test_pictures_of_ones_own_are_told_to_the_source_that_reads_them(name, place):
    file = smoke.SPACES / f"{name}.yaml"
    told = [setting for setting in smoke.small(file, "x.npz") if "x.npz" in setting]
    assert told == [f"{place}=x.npz"] * (place is not None)
    assert smoke.data_at(file) == place
