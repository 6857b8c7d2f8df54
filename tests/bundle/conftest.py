"""A bundle without a search: fresh weights, judged on its test tasks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metasearch.algorithms.base import Adapter
from metasearch.bundle.base import Part
from metasearch.bundle.save import Contents, save_bundle
from metasearch.engine.base import first_rates
from metasearch.models.base import Learner
from metasearch.rng import Stream
from metasearch.scores.features import random_features
from metasearch.search.files import to_json
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import Panel, measure
from tests.small import blobs_file, config

PROVENANCE = {"search": "tiny", "trial": "0000-vae-reptile", "seed": 0}


def contents_of(recipe: TrialConfig, parts: list[Part] | None = None) -> Contents:
    """What a search would export, had it trained nothing."""
    data = recipe.tasks.open()
    if parts is None:
        inner = recipe.algorithms[0].inner
        learner = Learner.create(recipe.models[0], data.shape, Stream(1).at("weights"))
        parts = [Part(Adapter(learner, inner.at_test(), first_rates(learner, inner)))]
    features = random_features(data) if recipe.score.needs_features else None
    panels = {
        split: Panel.gather(recipe, data, features, split, "cpu")
        for split in ("search", "confirm", "test")
    }
    found = {s: measure(parts[0].adapter, recipe.engine, p) for s, p in panels.items()}
    score = recipe.score
    report = {
        "score": {"name": score.name, "unit": score.unit, "direction": score.direction},
        "recipe": {"model": "vae", "algorithm": "reptile"},
        "splits": json.loads(to_json(found)),
        "baselines": {},
        "test_openings": 1,
    }
    return Contents(parts, recipe, report, PROVENANCE, -1.0, features, b"a picture")


@pytest.fixture(scope="session")
def file(tmp_path_factory) -> Path:
    """Images to judge on."""
    return blobs_file(tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture(scope="session")
def contents(file) -> Contents:
    return contents_of(config(file))


@pytest.fixture(scope="session")
def written(contents, tmp_path_factory) -> Path:
    """A bundle that nobody changes."""
    return save_bundle(contents, tmp_path_factory.mktemp("bundles") / "blobs-best")


@pytest.fixture
def bundle(written, tmp_path) -> Path:
    """A bundle to change."""
    return shutil.copytree(written, tmp_path / "bundle")


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """A folder of five light squares on dark, all different."""
    folder = tmp_path_factory.mktemp("images")
    for i, pixels in enumerate(squares()):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def squares(n: int = 5, size: int = 8) -> np.ndarray:
    """Light squares on dark, uint8 [n, size, size]."""
    pixels = Stream(5).at("squares").numpy().integers(0, 40, (n, size, size))
    pixels[:, 2:5, 1:4] = 255 - pixels[:, 2:5, 1:4]
    return pixels.astype(np.uint8)


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
