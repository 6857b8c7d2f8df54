"""Is the class drawn that was asked for? `python -m benchmarks.recognised --seconds 60`.

Conditional GANs, told of a class by a number (`slots`) or by its images (`sets`), are meta-trained
for so many seconds of processor time by the middle of search_spaces/cgan.yaml, and asked for
the classes of tasks of unseen alphabets, before adapting and after. Two judges that know nothing of
them, nor of each other, say which class they see: the score `recognition`, by the nearest mean of
real images in frozen features, and a softmax regression on pixels, trained anew for each task on
real images of its classes, which are not those that the model was shown. Chance is a third.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from benchmarks.families import trained
from benchmarks.recipes import SPACES, recipe
from metasearch.interval import mean_interval, paired_difference
from metasearch.rng import Stream
from metasearch.scores import SCORES
from metasearch.scores.base import by_task
from metasearch.search.process import keep_freed_memory
from metasearch.tasks.base import Batch, Split, TaskDistribution, TaskId
from metasearch.trial.config import TrialConfig
from metasearch.trial.judge import Panel, scored

EACH = {True: (60, 40), False: (14, 6)}  # real images of a class to learn from and to test on
CONDITIONS = ("slots", "sets")


class Softmax:
    """Regression on the light of squares of 2 x 2 pixels, for one task."""

    def __init__(self, images: Tensor, labels: Tensor, decay: float = 1e-2) -> None:
        """Fit, to images [n, c, h, w] and labels [n], with a penalty on squared weights."""
        x, classes = _seen(images), int(labels.max()) + 1
        self.weights = torch.zeros(x.shape[1], classes, dtype=x.dtype, requires_grad=True)
        optimizer = torch.optim.LBFGS([self.weights], max_iter=100, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            penalty = decay * self.weights.square().sum()
            found = F.cross_entropy(x @ self.weights, labels) + penalty
            found.backward()  # type: ignore[no-untyped-call]
            return found

        optimizer.step(loss)  # type: ignore[no-untyped-call]

    def __call__(self, images: Tensor) -> Tensor:
        """The class [n] that is seen in each image [n, c, h, w]."""
        return (_seen(images) @ self.weights.detach()).argmax(1)


def _seen(images: Tensor) -> Tensor:
    pooled = F.avg_pool2d(images.double(), 2, ceil_mode=True).flatten(1)
    return F.pad(pooled, (0, 1), value=1.0)


def classifiers(
    data: TaskDistribution, tasks: tuple[TaskId, ...], classes: int
) -> tuple[list[Softmax], np.ndarray]:
    """One for each task, and the share of further real images [tasks] that they get right."""
    learn, test = (classes * n for n in EACH[data.augmented])
    found, right = [], []
    for task in tasks:
        drawn = data.episodes([task], shot=learn, query=test, rng=Stream(0).at("classifier"))
        found.append(Softmax(drawn.support["x"], drawn.support["y"]))
        hits = found[-1](drawn.query["x"]) == drawn.query["y"]
        right.append(float(hits.double().mean()))
    return found, np.array(right)


def recognised(known: list[Softmax], samples: Batch) -> np.ndarray:
    """The share of each task's images that its classifier takes for what was asked for."""
    images, asked = (by_task(samples[key], len(known)) for key in ("x", "y"))
    return np.array(
        [
            float((sees(x) == y).double().mean())
            for sees, x, y in zip(known, images, asked, strict=True)
        ]
    )


def shares(config: TrialConfig, seconds: float, split: Split) -> Mapping[str, np.ndarray]:
    """What each judge sees, by task: "recognition before", "classifier after" and so on."""
    trial, bench = trained(config, seconds)
    adapter = trial.practice.crown()[0].adapter
    panel = Panel.gather(config, bench.data, bench.features, split, trial.device)
    known, real = classifiers(bench.data, panel.tasks, config.models[0].classes)  # type: ignore[attr-defined]
    found = {"classifier, real images": real}
    for moment, state in (("before", adapter.still()), ("after", adapter)):
        scores, samples, _ = scored(state, config.engine, panel)
        found[f"recognition {moment}"] = scores["recognition"]
        found[f"classifier {moment}"] = recognised(known, samples)
    return found


def main() -> None:
    """A line for each condition and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of processor time, each (60)")
    parser.add_argument("--size", type=int, default=20, help="pixels a side (20)")
    parser.add_argument("--split", choices=get_args(Split), default="search")
    parser.add_argument("--omniglot", help="path of Omniglot's images")
    parser.add_argument("--only", nargs="*", choices=CONDITIONS, default=list(CONDITIONS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    config = recipe(SPACES / "cgan.yaml", options.size, options.omniglot, None)
    assert config is not None, "cgan.yaml has tasks of images"
    config = replace(config, score=SCORES["recognition"]())
    print("| class by | judge | before | after | after - before |\n|---|---|---|---|---|")
    for condition in options.only:
        model = replace(config.models[0], condition=condition)  # type: ignore[type-var]
        found = shares(replace(config, models=(model,)), options.seconds, options.split)
        for judge in ("recognition", "classifier"):
            before, after = (found[f"{judge} {moment}"] for moment in ("before", "after"))
            told = (mean_interval(before), mean_interval(after), paired_difference(after, before))
            cells = (f"{x.mean:.2f} [{x.low:.2f}, {x.high:.2f}]" for x in told)
            print(f"| {condition} | {judge} | {' | '.join(cells)} |", flush=True)
        real = found["classifier, real images"].mean()
        print(f"| {condition} | classifier, real images | {real:.2f} | | |", flush=True)


if __name__ == "__main__":
    main()
