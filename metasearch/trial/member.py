"""One model of a trial's pool: its weights, what its inner loops learned, and what moves both."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metasearch.engine.base import decay, first_rates
from metasearch.models.base import Learner, Params
from metasearch.rng import Stream
from metasearch.tasks.base import Shape
from metasearch.trial.config import Outer, TrialConfig


@dataclass
class Member:
    """One model of the pool, with an outer optimiser of its own."""

    learner: Learner
    rates: list[Params]  # what each algorithm of the trial has learned of its inner loop
    optimizer: torch.optim.Adam
    factor: float = 1.0  # on the outer rate; members of a tournament inherit and change it

    @staticmethod
    def create(
        config: TrialConfig, index: int, shape: Shape, device: str, *, start: int | None = None
    ) -> Member:
        """A function of (config, seed, index); those with one `start` have one initialisation."""
        rng = Stream(config.seed).at("model", index if start is None else start)
        learner = Learner.create(config.models[index], shape, rng)
        for net in learner.nets.values():
            net.to(device)
        rates = [
            {name: r.requires_grad_() for name, r in first_rates(learner, a.inner).items()}
            for a in config.algorithms
        ]
        return Member.of(learner, rates)

    @staticmethod
    def of(learner: Learner, rates: list[Params], factor: float = 1.0) -> Member:
        """With an optimiser that has seen nothing."""
        found = [*learner.parameters().values(), *(r for own in rates for r in own.values())]
        return Member(learner, rates, torch.optim.Adam(found), factor)

    def named(self) -> Params:
        """All that the outer optimiser moves, in its order."""
        learned = {
            f"rates-{i}|{name}": r for i, own in enumerate(self.rates) for name, r in own.items()
        }
        return self.learner.parameters() | learned

    def move(self, values: Params, rates: Mapping[int, Params], outer: Outer, done: float) -> None:
        """One outer step along `values` and, of each algorithm named, its `rates`.

        `done` is the spent share of the budget.
        """
        self.optimizer.zero_grad()  # the rates of other algorithms stay where they are
        for name, p in self.learner.parameters().items():
            p.grad = values[name]
        for algorithm, found in rates.items():
            for name, rate in self.rates[algorithm].items():
                rate.grad = found[name]
        if outer.clip:
            moved = [p for p in self.named().values() if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(moved, outer.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = outer.lr * self.factor * decay(outer.schedule, done)
            group["betas"] = (outer.beta1, 0.999)
        self.optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's moments by parameter name, for a snapshot."""
        moments = self.optimizer.state_dict()["state"]
        names = list(self.named())
        return {
            f"{names[i]}|{k}": torch.as_tensor(v) for i, m in moments.items() for k, v in m.items()
        }

    def fork(self) -> Member:
        """A copy that moves on its own."""
        nets = {name: copy.deepcopy(net) for name, net in self.learner.nets.items()}
        rates = [
            {name: r.detach().clone().requires_grad_() for name, r in own.items()}
            for own in self.rates
        ]
        twin = Member.of(Learner(self.learner.family, self.learner.shape, nets), rates, self.factor)
        twin.load(self.named(), self.tensors())
        return twin

    def take(self, other: Member, player: str = "") -> None:
        """Become what another member of the same family is: wholly, or in one player's nets."""
        if not player:
            self.load(other.named(), other.tensors())
            self.factor = other.factor
            return
        theirs = other.learner.parameters()
        with torch.no_grad():
            for name, mine in self.learner.parameters().items():
                if self.learner.owner(name) == player:
                    mine.copy_(theirs[name])

    def freeze(self, label: str) -> dict[str, dict[str, Tensor]]:
        """Weights and moments by file, copied."""
        return {
            f"model-{label}": {k: v.detach().clone() for k, v in self.named().items()},
            f"optimizer-{label}": {k: v.detach().clone() for k, v in self.tensors().items()},
        }

    def thaw(self, tensors: Mapping[str, Mapping[str, Tensor]], label: str) -> None:
        """Go back to what `freeze` gave."""
        self.load(tensors[f"model-{label}"], tensors[f"optimizer-{label}"])

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
            state.setdefault(index[name], {})[moment] = value.clone()  # torch would keep it
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**whole, "state": state})
