"""What choosing costs, against the meta-step it is for: `python -m benchmarks.selection`.

Every rule for tasks chooses 8 of 1,000 and is told what came of it; a meta-step of the quickstart's
VAE on the same machine, in the same process and between the same clock readings, is the yardstick.
Every other rule chooses among 3 algorithms or models, which it does once a segment.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from metasearch.rng import Stream
from metasearch.selectors import SELECTORS
from metasearch.selectors.base import Arms, Exchanger, Feedback, Selector, State
from metasearch.tasks import Glyphs
from metasearch.trial.config import from_data
from metasearch.trial.loop import Bench, Trial

TASKS, BATCH, SKETCH, ROUNDS, WARM_UP = 1000, 8, 64, 60, 150
OTHERS, INNER = 3, 8  # algorithms or models, and the `inner` tasks that they are measured on


def meta_step() -> Callable[[int], None]:
    """One meta-step of a VAE such as the quickstart's, by first-order MAML."""
    inner = {"steps": 5, "lr": 0.01, "optimizer": "adam"}
    config = from_data(
        {
            "tasks": {"name": "glyphs", "size": 20},
            "models": [{"name": "vae", "latent": 8, "net": {"name": "mlp", "hidden": 128}}],
            "algorithms": [{"name": "maml", "first_order": True, "inner": inner}],
            "score": "nll",
            "budget": {"gradients": 10**9, "tasks_per_step": BATCH},
        }
    )
    trial = Trial.open(config, Bench(Glyphs(size=20).open(), None))
    return lambda step: (trial.practice.step(step, 0.0), None)[1]


def rule_step(rule: Selector) -> Callable[[int], None]:
    """One choice and what it brought, on arms that were all seen before."""
    rng = np.random.default_rng(0)
    n, v = (TASKS, 1) if "tasks" in rule.axes else (OTHERS, INNER)
    looks = rng.normal(size=(n, 64))
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    payoff = rng.normal(size=(2, OTHERS, OTHERS))
    memory: list[State] = [rule.init(Arms(n, np.arange(n) % 20, looks))]

    def once(step: int) -> None:
        choice, state = rule.choose(memory[0], BATCH, Stream(0).at(step).numpy(), 0.5)
        k = len(choice.arms)
        after = rng.normal(100, 10, (k, v))
        sketch, common = rng.normal(size=(k, SKETCH)), rng.normal(size=SKETCH)
        told = Feedback(after + 1, after, after - 80, np.full(k, 150.0), sketch, common, payoff)
        memory[0] = rule.update(state, choice, told)
        if isinstance(rule, Exchanger):
            memory[0] = rule.exchange(memory[0], Stream(1).at(step).numpy())[1]

    return once


def main() -> None:
    """Print each rule's share of a meta-step."""
    torch.set_num_threads(1)
    rules = {name: SELECTORS[name]() for name in SELECTORS}
    steps = {"": meta_step(), **{name: rule_step(rule) for name, rule in rules.items()}}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in steps.items():
        for i in range(WARM_UP if name else 20):
            step(i)
    for i in range(ROUNDS):
        for name, step in steps.items():
            began = time.perf_counter()
            step(WARM_UP + i)
            seconds[name].append(time.perf_counter() - began)
    yardstick = statistics.median(seconds.pop(""))
    print(f"a meta-step of {BATCH} tasks: {1e3 * yardstick:.1f} ms; of it, choosing among {TASKS}")
    for name, found in seconds.items():
        among = "" if "tasks" in rules[name].axes else f"  among {OTHERS}, once a segment"
        print(f"  {name:10} {statistics.median(found) / yardstick:6.2%}{among}")


if __name__ == "__main__":
    main()
