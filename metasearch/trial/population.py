"""The models and algorithms of one trial, and who of them moves in a meta-step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.base import Adapter, MetaAlgorithm, MetaGradient
from metasearch.engine.base import first_rates
from metasearch.models.base import Learner, Params
from metasearch.rng import Stream
from metasearch.selectors.base import Choice, State
from metasearch.tasks.base import Shape
from metasearch.trial.checkpoint import arrays_to_tensors, tensors_to_arrays
from metasearch.trial.config import Outer, TrialConfig


@dataclass
class Member:
    """One model of the pool, with an outer optimiser of its own."""

    learner: Learner
    rates: list[Params]  # what each algorithm of the trial has learned of its inner loop
    optimizer: torch.optim.Adam

    @staticmethod
    def create(config: TrialConfig, index: int, shape: Shape, device: str) -> Member:
        """A function of (config, seed, index)."""
        rng = Stream(config.seed).at("model", index)
        learner = Learner.create(config.models[index], shape, rng)
        for net in learner.nets.values():
            net.to(device)
        rates = [
            {name: r.requires_grad_() for name, r in first_rates(learner, a.inner).items()}
            for a in config.algorithms
        ]
        found = [*learner.parameters().values(), *(r for own in rates for r in own.values())]
        return Member(learner, rates, torch.optim.Adam(found, lr=config.outer.lr))

    def named(self) -> Params:
        """All that the outer optimiser moves, in its order."""
        learned = {
            f"rates-{i}|{name}": r for i, own in enumerate(self.rates) for name, r in own.items()
        }
        return self.learner.parameters() | learned

    def move(self, found: MetaGradient, algorithm: int, outer: Outer, done: float) -> None:
        """One outer step along a meta-gradient; `done` is the spent share of the budget."""
        if not bool(found.finite.any()):
            return
        self.optimizer.zero_grad()  # the rates of other algorithms stay where they are
        for name, p in self.learner.parameters().items():
            p.grad = found.values[name]
        for name, rate in self.rates[algorithm].items():
            rate.grad = found.rates[name]
        if outer.clip:
            moved = [p for p in self.named().values() if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(moved, outer.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = outer.lr * decay(outer.schedule, done)
        self.optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's moments by parameter name, for a snapshot."""
        moments = self.optimizer.state_dict()["state"]
        names = list(self.named())
        return {
            f"{names[i]}|{k}": torch.as_tensor(v) for i, m in moments.items() for k, v in m.items()
        }

    def load(self, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]) -> None:
        """Go back to a snapshot."""
        mine = self.learner.parameters()
        self.learner.load({name: weights[name] for name in mine})
        with torch.no_grad():
            for name, value in self.named().items():
                value.copy_(weights[name])
        index = {name: i for i, name in enumerate(self.named())}
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in moments.items():
            name, moment = key.rsplit("|", 1)
            state.setdefault(index[name], {})[moment] = value
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**whole, "state": state})


def decay(schedule: str, done: float) -> float:
    """The factor on the outer rate: 1 at the start, a tenth at the end unless constant."""
    done = min(max(done, 0.0), 1.0)
    if schedule == "cosine":
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))
    return 1 - 0.9 * done if schedule == "linear" else 1.0


@dataclass(frozen=True)
class Champion:
    """The model and algorithm a trial stands for."""

    algorithm: MetaAlgorithm
    adapter: Adapter


@dataclass
class Population:
    """The members, and the three selectors' memories."""

    config: TrialConfig
    members: list[Member]
    states: dict[str, State]  # axis -> the selector's memory
    algorithm: int = 0
    model: int = 0
    counts: dict[str, np.ndarray] = field(default_factory=dict)  # axis -> draws per arm

    @staticmethod
    def create(config: TrialConfig, shape: Shape, groups: np.ndarray, device: str) -> Population:
        """All members at their initialisation; `groups` [tasks] is each train task's group."""
        arms = {
            "tasks": len(groups),
            "algorithms": len(config.algorithms),
            "models": len(config.models),
        }
        states = {
            axis: getattr(config.strategy, axis).init(n, groups if axis == "tasks" else None)
            for axis, n in arms.items()
        }
        members = [Member.create(config, i, shape, device) for i in range(len(config.models))]
        counts = {axis: np.zeros(n, dtype=np.int64) for axis, n in arms.items()}
        return Population(config, members, states, counts=counts)

    def choose(self, step: int) -> Choice:
        """Who moves in this meta-step, and on which tasks. Segments keep model and algorithm."""
        rng = Stream(self.config.seed).at("select", step)
        if step % self.config.strategy.segment == 0:
            self.algorithm = self._pick("algorithms", 1, rng).arms[0]
            self.model = self._pick("models", 1, rng).arms[0]
        return self._pick("tasks", self.config.budget.tasks_per_step, rng)

    def _pick(self, axis: str, k: int, rng: Stream) -> Choice:
        selector = getattr(self.config.strategy, axis)
        choice, self.states[axis] = selector.choose(self.states[axis], k, rng.at(axis).numpy())
        self.counts[axis][list(choice.arms)] += 1
        return choice

    def champion(self) -> Champion:
        """What the trial stands for: under random selection a uniformly drawn member and algorithm.

        Source: the definition of the random cell: the final model is a uniform draw, so the
        score's expectation is the mean over members. Drawn once per trial, from its seed.
        """
        rng = Stream(self.config.seed).at("champion").numpy()
        model = int(rng.integers(len(self.members)))
        chosen = int(rng.integers(len(self.config.algorithms)))
        member, algorithm = self.members[model], self.config.algorithms[chosen]
        return Champion(
            algorithm, Adapter(member.learner, algorithm.inner.at_test(), member.rates[chosen])
        )

    def freeze(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Tensors by file and plain state, copied, for a snapshot."""
        tensors: dict[str, dict[str, Tensor]] = {}
        for i, member in enumerate(self.members):
            weights = member.named()
            tensors[f"model-{i}"] = {k: v.detach().clone() for k, v in weights.items()}
            tensors[f"optimizer-{i}"] = {k: v.detach().clone() for k, v in member.tensors().items()}
        for axis, state in self.states.items():
            tensors[f"select-{axis}"] = arrays_to_tensors({**state, "counts_": self.counts[axis]})
        return tensors, {"algorithm": self.algorithm, "model": self.model}

    def restore(
        self, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        """Go back to what `freeze` gave."""
        for i, member in enumerate(self.members):
            member.load(tensors[f"model-{i}"], tensors[f"optimizer-{i}"])
        for axis in self.states:
            arrays = tensors_to_arrays(tensors[f"select-{axis}"])
            self.counts[axis] = arrays.pop("counts_")
            self.states[axis] = arrays
        self.algorithm, self.model = int(state["algorithm"]), int(state["model"])
