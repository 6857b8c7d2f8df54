"""A real search in a second: bright squares in a file, a tiny recipe, and a run over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from metasearch.registry import to_data
from metasearch.search.config import SearchFile
from metasearch.search.ledger import Run, open_run
from metasearch.search.run import Plan, run_search
from metasearch.tasks.base import SPLITS
from metasearch.trial.config import TrialConfig, from_data
from tests.games import Blobs

REPTILE = {"name": "reptile", "inner": {"steps": 2, "lr": 0.05}}


def blobs_file(path: Path, *, colour: bool = False) -> Path:
    """`Blobs` as an .npz with its splits; light squares on dark."""
    blobs = Blobs()
    names = [(split, task) for split in SPLITS for task in blobs.tasks(split)]
    images = [blobs.images(task)["x"].squeeze(1).numpy() for _, task in names]
    pixels = np.concatenate([((x + 1) * 127.5).round().astype(np.uint8) for x in images])
    if colour:
        pixels = np.stack([pixels, pixels // 2, pixels // 4], -1)
    labels = np.concatenate(
        [np.full(len(x), task) for x, (_, task) in zip(images, names, strict=True)]
    )
    order = np.unique([task for _, task in names])
    split_of = {task: split for split, task in names}
    np.savez(path, images=pixels, labels=labels, split=np.array([split_of[t] for t in order]))
    return path


def trial(file: Path, **changes: Any) -> dict[str, Any]:
    """`trial:` of a search file over `file`."""
    return {
        "tasks": {"name": "arrays", "path": str(file), "size": 8, "shot": 3, "query": 4,
                  "anchor": 4, "leaks": "keep"},
        "models": [{"name": "vae", "latent": 4, "net": {"name": "mlp", "hidden": 16}}],
        "algorithms": [REPTILE],
        "outer": {"lr": 0.01},
        "score": {"name": "nll", "samples": 2},
        "budget": {"gradients": 600, "reports": 2, "tasks_per_step": 4},
        "judging": {"tasks": 4, "samples": 6},
        **changes,
    }  # fmt: skip


def config(file: Path, **changes: Any) -> TrialConfig:
    """A resolved recipe over `file`."""
    return from_data(trial(file, **changes))


def searched(folder: Path, tree: dict[str, Any], **search: Any) -> Run:
    """Search a `trial:` in this process."""
    settings = {"backend": "local", "sampler": "random", "pruner": "none", "trials": 2, **search}
    from metasearch import space

    file = SearchFile.from_yaml(space.dump({"search": settings, "trial": to_data(tree)}))
    run_search(Plan.of(file), folder)
    return open_run(folder)
