"""Judge unseen tasks with the batched engine and with the loop: how long, and the same scores?

    python -m benchmarks.evaluation

Runs what a trial runs when it reports: adapt to every task of a panel, score, and score again
without adaptation. CPU time on one thread, engines taking turns, medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from benchmarks.engine.harness import cpu_seconds
from metasearch.algorithms.base import Adapter
from metasearch.engine import Batched, Loop
from metasearch.engine.base import Engine, InnerLoop
from metasearch.models.base import GenerativeModel, Learner
from metasearch.models.nets import Conv, Mlp
from metasearch.models.vae import VAE
from metasearch.rng import Stream
from metasearch.scores.likelihood import NLL
from metasearch.search.process import keep_freed_memory
from metasearch.tasks.base import Episodes
from metasearch.trial.judge import Panel, judge

TASKS, SHOT, QUERY, SIDE = 48, 5, 15, 28
_RNG = Stream(0).at("benchmark", "evaluation")


@dataclass(frozen=True)
class Comparison:
    """One panel judged by both engines."""

    name: str
    loop_s: float  # CPU time of a judgement, median
    batched_s: float
    loop_nats: float  # mean score over tasks, after adaptation
    batched_nats: float
    apart: float  # largest difference of one task's score, in nats

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.name:<28} loop {self.loop_s * 1e3:8.0f} ms   batched "
            f"{self.batched_s * 1e3:8.0f} ms   {self.loop_s / self.batched_s:5.2f}x   scores "
            f"{self.loop_nats:.3f} {self.batched_nats:.3f}, at most {self.apart:.1e} apart"
        )


def families() -> dict[str, GenerativeModel]:
    """What is judged, by name."""
    return {
        "conv-vae": VAE(latent=32, net=Conv(width=32, norm="none")),
        "mlp-vae": VAE(latent=32, net=Mlp(hidden=256, depth=1)),
    }


def compare(
    name: str, family: GenerativeModel, score: NLL, *, tasks: int = TASKS, repeats: int = 5
) -> Comparison:
    """Judge the same panel by both engines."""
    learner = Learner.create(family, (1, SIDE, SIDE), _RNG.at("init"))
    adapter = Adapter(learner, InnerLoop(steps=5, lr=1e-3))
    panel = Panel(_episodes(tasks), (score,), None, samples=1)
    engines: dict[str, Engine] = {"loop": Loop(), "batched": Batched()}
    scores = {key: judge(adapter, engine, panel).after["nll"] for key, engine in engines.items()}
    seconds: dict[str, list[float]] = {key: [] for key in engines}
    for _ in range(repeats):
        for key, engine in engines.items():
            seconds[key].append(cpu_seconds(lambda e=engine: judge(adapter, e, panel)))  # type: ignore[misc]
    return Comparison(
        f"{name}, {score.bound} of {score.samples}",
        statistics.median(seconds["loop"]),
        statistics.median(seconds["batched"]),
        float(scores["loop"].mean()),
        float(scores["batched"].mean()),
        float(np.abs(scores["loop"] - scores["batched"]).max()),
    )


def _episodes(tasks: int) -> Episodes:
    def draw(part: str, n: int) -> torch.Tensor:
        make = _RNG.at(part).torch()
        field = torch.randn(tasks * n, 1, SIDE + 4, SIDE + 4, generator=make)
        return 2.0 * (F.avg_pool2d(field, 5, 1).abs() > 0.25) - 1

    nothing = torch.empty(0, 1, SIDE, SIDE)
    names = tuple(f"unseen{i:02d}" for i in range(tasks))
    return Episodes(
        names, {"x": draw("support", SHOT)}, {"x": draw("query", QUERY)}, {"x": nothing}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per family and score."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="rounds of timing (5)")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"{TASKS} unseen tasks, 5 steps on {SHOT} images, {QUERY} query images")
    for name, family in families().items():
        for score in (NLL(samples=1, bound="elbo"), NLL()):
            print(compare(name, family, score, repeats=asked.repeats), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
