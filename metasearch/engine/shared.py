"""No inner steps: every task has the meta-parameters, and a pass is an ordinary one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasearch.engine.base import InnerLoop, Order, TaskGradients
from metasearch.engine.layers import TaskLayer
from metasearch.engine.twins import Maker, twin_of
from metasearch.models.base import Learner, Net, Nets, Params


def modules_at(learner: Learner, weights: Params) -> Nets:
    """The nets themselves, called with these weights."""

    def call(name: str, net: nn.Module) -> Net:
        own = {
            key.removeprefix(f"{name}."): w
            for key, w in weights.items()
            if key.startswith(f"{name}.")
        }
        return lambda *inputs: functional_call(net, own, inputs)

    return {name: call(name, net) for name, net in learner.nets.items()}


def twins_at(learner: Learner, weights: Params) -> Nets:
    """Their twins, as of one task: convolutions of few channels are several times faster so."""
    make = Maker(1, 1, InnerLoop(steps=0), frozenset(weights), low_rank=False)
    twins = {name: twin_of(net, f"{name}.", make) for name, net in learner.nets.items()}
    for layer in (x for twin in twins.values() for x in twin.modules()):
        if isinstance(layer, TaskLayer):
            layer.fast = {n: weights[layer.place + n].unsqueeze(0) for n in layer.fast}
    return twins


class Shared:
    """No inner step, so all tasks have the meta-parameters: an ordinary pass over the batch."""

    def __init__(
        self,
        learner: Learner,
        tasks: int,
        rates: Params,
        nets: Callable[[Learner, Params], Nets] = modules_at,
    ) -> None:
        self.learner = learner
        self.tasks = tasks
        self.gradients = 0
        self._rates = rates
        self._weights = {
            name: p.detach().clone().requires_grad_() for name, p in learner.parameters().items()
        }
        self._nets = nets(learner, self._weights)

    @property
    def nets(self) -> Nets:
        """The nets with copies of the meta-parameters."""
        return self._nets

    def step(self, player: str, loss: Tensor) -> None:
        """Nothing is stepped where no steps were asked for."""
        raise RuntimeError(f"opened for 0 inner steps; {player} cannot move by {loss.shape}")

    def play(self, losses: Mapping[str, Tensor]) -> None:
        """Nothing is stepped where no steps were asked for."""
        raise RuntimeError(f"opened for 0 inner steps; {sorted(losses)} cannot move")

    def meta_gradient(self, losses: Mapping[str, Tensor], order: Order) -> TaskGradients:
        """The plain gradient; see `BatchedAdapted.meta_gradient` for tasks that are not finite."""
        del order  # without inner steps they are the same
        values: Params = {}
        by_task = {p: x.reshape(self.tasks, -1).mean(1) for p, x in losses.items()}
        for player, loss in by_task.items():
            names = [n for n in self._weights if self.learner.owner(n) == player]
            grads = torch.autograd.grad(
                loss.mean(),
                [self._weights[n] for n in names],
                allow_unused=True,
                materialize_grads=True,
            )
            values |= dict(zip(names, grads, strict=True))
            self.gradients += losses[player].numel()
        finite = torch.stack([x.isfinite() for x in by_task.values()]).all(0)
        unused = {name: torch.zeros_like(r) for name, r in self._rates.items()}
        return TaskGradients(values, finite, unused)

    def displacement(self, weights: Tensor | None = None) -> TaskGradients:
        """Nobody moved."""
        del weights
        zero = {name: torch.zeros_like(w) for name, w in self._weights.items()}
        return TaskGradients(zero, torch.ones(self.tasks, dtype=torch.bool))

    def sketch(self, dims: int) -> Tensor:
        """Nobody moved, [tasks, dims]."""
        return torch.zeros(self.tasks, dims)

    def state(self, task: int) -> Params:
        """The meta-parameters, whichever the task."""
        del task
        return {name: w.detach() for name, w in self._weights.items()}
