"""Every family trains on images in colour, from folders, at every size that the docs promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from metasearch.models import MODELS
from metasearch.rng import Stream
from metasearch.trial.config import from_data, problems
from metasearch.trial.loop import Trial, bench_for

FEW = {"shot": 2, "query": 2, "anchor": 0}
INNER = {"steps": 2, "lr": 1e-3, "optimizer": "adam", "clip": 1.0}


def write(root, folders, each=6):
    """Discs of a colour and size for each folder, in images that differ by their place."""
    for f, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        rng = Stream(f).numpy()
        ink = rng.uniform(40, 255, 3)
        for i in range(each):
            y, x = np.mgrid[:64, :64] - rng.uniform(20, 44, (2, 1, 1))
            disc = (np.hypot(x, y) < 6 + f)[..., None]
            Image.fromarray((disc * ink).astype(np.uint8)).save(root / folder / f"{i}.png")
    return str(root)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return write(tmp_path_factory.mktemp("c"), [f"s{i}/c{j}" for i in range(5) for j in range(2)])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    sides = [f"p{i}/train{side}" for i in range(5) for side in "AB"]
    return write(tmp_path_factory.mktemp("p"), sides)


def tasks_for(family, size, classes, pairs):
    """The source that a family asks for, over coloured pictures."""
    if "a" in family.domains:
        return {"name": "pair_folder", "path": pairs, "size": size, **FEW}
    folder = {"name": "folder", "path": classes, "size": size, "leaks": "keep", **FEW}
    labelled = {"name": "conditional", "classes": 2, "source": folder}
    return labelled if "y" in family.domains else folder


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 28, 32, 64])
@pytest.mark.parametrize("name", list(MODELS))
def test_every_family_trains_in_colour_at_every_size(name, size, classes, pairs):
    settings = {"classes": 2} if "y" in MODELS[name]().domains else {}
    config = from_data(
        {
            "tasks": tasks_for(MODELS[name](), size, classes, pairs),
            "models": [{"name": name, **settings}],
            "algorithms": [{"name": "joint", "inner": INNER}],
            "score": {"name": "cost"},
            "budget": {"gradients": 60, "reports": 1, "tasks_per_step": 2},
            "judging": {"tasks": 1, "samples": 3},
        }
    )
    assert list(problems(config)) == []
    trial = Trial.open(config, bench_for(config))
    learner = trial.practice.population.members[0].learner
    before = {name: p.detach().clone() for name, p in learner.parameters().items()}
    report = trial.advance()
    assert trial.bench.data.shape == (3, size, size)
    assert report.cost.meta_steps >= 2 and report.scalars["tasks/non_finite"] == 0
    losses = [x for name, x in report.scalars.items() if name.startswith("loss/")]
    assert losses and all(map(math.isfinite, losses))
    assert any(not torch.equal(p, before[name]) for name, p in learner.parameters().items())
    assert report.samples.after.shape[2:] in {(size, size, 3), (2 * size, size, 3)}
