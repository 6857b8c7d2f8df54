"""What are codes of unseen classes good for? `python -m benchmarks.encoders --seconds 60`.

Families with an encoder are meta-trained for so many seconds of processor time by the middles of
their search spaces, and asked for codes of images of unseen alphabets. Two probes say from codes
which task an image is of: least squares, and the nearest code. Beside them stand the same probes on
codes of the same nets before any training, and on pixels: an encoder that is good for something
tells classes apart at least as well. Chance is one of the tasks. Images sent through their codes
and back are compared with what they were, before adapting and after.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import get_args

import numpy as np
import torch

from benchmarks.families import trained
from benchmarks.recipes import SPACES, recipe
from metasearch.interval import mean_interval, paired_difference
from metasearch.scores.base import by_task
from metasearch.scores.probe import Probe
from metasearch.scores.reconstruction import Reconstruction
from metasearch.search.process import keep_freed_memory
from metasearch.tasks.base import Split, image_domains
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import Panel, scored

ENCODE = ("glyphs-vae", "vaegan", "aae", "setvae")
PROBES = {"least squares": Probe(kind="linear"), "nearest": Probe(kind="nearest")}
Figures = dict[tuple[str, str], np.ndarray]  # by what is measured and of what; [tasks] each


def figures(config: TrialConfig, seconds: float, split: Split) -> Figures:
    """Shares of images that probes give to their tasks, and errors of what comes back."""
    found: Figures = {}
    for state, spent in (("untrained", 0.0), ("trained", seconds)):
        trial, bench = trained(config, spent)
        adapter = trial.practice.crown()[0].adapter
        panel = Panel.gather(config, bench.data, bench.features, split, trial.device)
        for name, probe in PROBES.items():
            asked = replace(panel, scores=(probe,))
            found[name, state] = scored(adapter.still(), config.engine, asked)[0]["probe"]
        back = replace(panel, scores=(Reconstruction(),))
        for when, moment in ((state, adapter.still()), (f"{state}, adapted", adapter)):
            score = scored(moment, config.engine, back)[0]["reconstruction"]
            found["error", when] = score
    return found | of_pixels(panel)


def of_pixels(panel: Panel) -> Figures:
    """The same probes on images as they are."""
    episodes, tasks = panel.episodes, len(panel.tasks)
    domain = image_domains(episodes.query)[0]
    sides = (episodes.support[domain], episodes.query[domain])
    support, query = (by_task(x.flatten(1).double(), tasks) for x in sides)
    own = torch.arange(tasks)[:, None]
    return {
        (name, "pixels"): (probe.told(support, query) == own).double().mean(1).numpy()
        for name, probe in PROBES.items()
    }


ROWS = {  # what is measured: of what, the last of which is compared with each of the others
    "least squares": ("untrained", "pixels", "trained"),
    "nearest": ("untrained", "pixels", "trained"),
    "error": ("untrained, adapted", "trained", "trained, adapted"),
}


def row(name: str, measured: str, found: Figures) -> str:
    """Means and differences with their intervals."""
    *others, own = (found[measured, of] for of in ROWS[measured])
    means = [mean_interval(x) for x in (*others, own)]
    gaps = [paired_difference(own, other) for other in others]
    cells = [f"{x.mean:.2f} [{x.low:.2f}, {x.high:.2f}]" for x in (*means, *gaps)]
    return f"| {name} | {measured} | {' | '.join(cells)} |"


def main() -> None:
    """Two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of processor time, each (60)")
    parser.add_argument("--size", type=int, default=20, help="pixels a side (20)")
    parser.add_argument("--split", choices=get_args(Split), default="search")
    parser.add_argument("--omniglot", help="path of Omniglot's images")
    parser.add_argument("--only", nargs="*", choices=ENCODE, default=list(ENCODE))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = {}
    for name in options.only:
        config = recipe(SPACES / f"{name}.yaml", options.size, options.omniglot, None)
        assert config is not None, "their tasks are of images"
        found[name] = figures(config, options.seconds, options.split)
    for measured, of in ROWS.items():
        *others, own = of
        gaps = " | ".join(f"{own} - {other}" for other in others)
        print(f"\n| family | {measured} | {' | '.join(of)} | {gaps} |\n|{'---|' * 7}")
        for name in options.only:
            print(row(name, measured, found[name]), flush=True)


if __name__ == "__main__":
    main()
