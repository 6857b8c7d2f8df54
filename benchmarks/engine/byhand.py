"""What one writes without a package: copies of modules, functional calls, `vmap`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.engine.work import Step, Task, Work, add, zeros
from metasearch.models.adversarial import NonSaturating, Wasserstein
from metasearch.models.base import Net, Nets, Noise, Params

Weights = dict[str, Params]
"""Net -> its parameters."""


class NotOffered(Exception):  # noqa: N818 - a fact about a package, not an error
    """An implementation has no way to do this."""


def copies(work: Work) -> Step:
    """Working copies, reloaded for each task, `torch.optim`, `backward`: as FIGR does it."""
    if work.second:
        raise NotOffered("torch.optim is not differentiable")
    nets = {name: copy.deepcopy(net) for name, net in work.learner.nets.items()}
    mine = {
        player: [p for name in own for p in nets[name].parameters()]
        for player, own in work.family.players.items()
    }
    make = torch.optim.SGD if work.case.optimizer == "sgd" else torch.optim.Adam

    def one(task: Task, total: Params) -> None:
        for name, net in nets.items():
            net.load_state_dict(work.learner.nets[name].state_dict())
        optimizers = {player: make(own, lr=work.case.lr) for player, own in mine.items()}
        for player, noise in task.moves:
            optimizers[player].zero_grad()
            loss = work.loss(player, nets, task.support, noise)
            loss.backward(inputs=mine[player])  # type: ignore[no-untyped-call]
            optimizers[player].step()
        if work.case.method == "reptile":
            for player, names in work.mine.items():
                gone = [work.shared[n] - p for n, p in zip(names, mine[player], strict=True)]
                add(total, names, gone, work.case.tasks)
            return
        for player, noise in task.outer.items():
            optimizers[player].zero_grad()
            loss = work.loss(player, nets, task.query, noise)
            loss.backward(inputs=mine[player])  # type: ignore[no-untyped-call]
            grads = [p.grad for p in mine[player] if p.grad is not None]
            add(total, work.mine[player], grads, work.case.tasks)

    def run() -> Params:
        total = zeros(work)
        for task in work.tasks:
            one(task, total)
        return total

    return run


def functional(work: Work) -> Step:
    """`functional_call` and `torch.autograd.grad` in a loop over tasks."""

    def differentiate(loss: Callable[[Weights], Tensor], at: Weights) -> Weights:
        if not work.second:
            at = {n: {k: p.detach().requires_grad_() for k, p in w.items()} for n, w in at.items()}
        flat = [p for w in at.values() for p in w.values()]
        found = iter(torch.autograd.grad(loss(at), flat, create_graph=work.second))
        return {n: {k: next(found) for k in w} for n, w in at.items()}

    def through(start: Weights, task: Task) -> Params:
        loss = _query(work, _adapt(work, start, task, differentiate), task)
        flat = _flat(start)
        return dict(zip(flat, torch.autograd.grad(loss, list(flat.values())), strict=True))

    def run() -> Params:
        start = _weights(work, detach=not work.second)
        total = zeros(work)
        for task in work.tasks:
            if work.second:
                found = through(start, task)
            else:
                fast = _adapt(work, start, task, differentiate)
                found = _outcome(work, start, fast, task, differentiate)
            add(total, list(found), list(found.values()), work.case.tasks)
        return total

    return run


def batch_of_tasks(work: Work, *, chunk: int | None = None, compiled: bool = False) -> Step:
    """The whole of one task under `torch.func.grad`, all tasks under `torch.func.vmap`."""
    moves = [player for player, _ in work.moves()]
    stacked = {
        "support": _by_task(work, work.support),
        "query": _by_task(work, work.episodes.query),
        "moves": [_by_task(work, noise) for _, noise in work.moves()],
        "outer": {player: _by_task(work, noise) for player, noise in work.outer().items()},
    }

    def one(start: Weights, data: Mapping[str, Any]) -> Params:
        pairs = tuple(zip(moves, data["moves"], strict=True))
        task = Task(data["support"], data["query"], pairs, data["outer"])
        if work.second:
            return _flat(_grad(lambda s: _query(work, _adapt(work, s, task, _grad), task), start))
        return _outcome(work, start, _adapt(work, start, task, _grad), task, _grad)

    def all_of_them(start: Weights, data: Mapping[str, Any]) -> Params:
        found = vmap(one, in_dims=(None, 0), chunk_size=chunk)(start, data)
        return {name: x.mean(0) for name, x in found.items()}

    call = torch.compile(all_of_them) if compiled else all_of_them
    work = _without_inner_autograd(work)

    def run() -> Params:
        answer: Params = call(_weights(work, detach=True), stacked)
        return answer

    return run


Differentiate = Callable[[Callable[[Weights], Tensor], Weights], Weights]


def _grad(loss: Callable[[Weights], Tensor], at: Weights) -> Weights:
    found: Weights = grad(loss)(at)
    return found


def _adapt(work: Work, start: Weights, task: Task, differentiate: Differentiate) -> Weights:
    fast, rules = dict(start), {player: _Rule(work) for player in work.family.players}
    for player, noise in task.moves:
        others = _detached(fast)

        def loss(
            own: Weights, player: str = player, noise: Noise = noise, others: Weights = others
        ) -> Tensor:
            return work.loss(player, _nets(work, {**others, **own}), task.support, noise)

        own = {name: fast[name] for name in work.family.players[player]}
        fast |= rules[player].step(own, differentiate(loss, own))
    return fast


def _outcome(
    work: Work, start: Weights, fast: Weights, task: Task, differentiate: Differentiate
) -> Params:
    """How far the task moved, or the gradient of its query losses at the fast weights.

    Each player's loss meets the other players' weights as constants, so one sum serves all.
    """
    if work.case.method == "reptile":
        return _flat({n: {k: start[n][k] - p for k, p in w.items()} for n, w in fast.items()})
    return _flat(differentiate(lambda at: _query(work, at, task), fast))


def _query(work: Work, fast: Weights, task: Task) -> Tensor:
    others = _detached(fast)
    losses = []
    for player, noise in task.outer.items():
        own = {name: fast[name] for name in work.family.players[player]}
        losses.append(work.loss(player, _nets(work, {**others, **own}), task.query, noise))
    return torch.stack(losses).sum()


def _detached(weights: Weights) -> Weights:
    return {n: {k: p.detach() for k, p in own.items()} for n, own in weights.items()}


@dataclass
class _Rule:
    """SGD or Adam for one player in one task."""

    work: Work
    steps: int = 0
    moments: dict[tuple[str, str], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def step(self, weights: Weights, grads: Weights) -> Weights:
        """The weights after one step."""
        self.steps += 1
        lr, sgd = self.work.case.lr, self.work.case.optimizer == "sgd"
        return {
            n: {
                k: p - lr * (grads[n][k] if sgd else self._adam((n, k), grads[n][k]))
                for k, p in own.items()
            }
            for n, own in weights.items()
        }

    def _adam(self, key: tuple[str, str], g: Tensor) -> Tensor:
        m, v = self.moments.get(key, (torch.zeros_like(g), torch.zeros_like(g)))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        self.moments[key] = (m, v)
        root = (v / (1 - 0.999**self.steps) + 1e-30).sqrt()
        return m / (1 - 0.9**self.steps) / (root + 1e-8)


def _nets(work: Work, weights: Weights) -> Nets:
    return {n: partial(_call, net, weights[n]) for n, net in work.learner.nets.items()}


def _call(net: nn.Module, weights: Params, *inputs: Tensor) -> Tensor:
    answer: Tensor = functional_call(net, weights, inputs)
    return answer


def _weights(work: Work, *, detach: bool) -> Weights:
    return {
        name: {k: p.detach() if detach else p for k, p in net.named_parameters()}
        for name, net in work.learner.nets.items()
    }


def _flat(weights: Weights) -> Params:
    return {f"{net}.{name}": p for net, own in weights.items() for name, p in own.items()}


def _by_task(work: Work, batch: Mapping[str, Tensor]) -> Params:
    return {k: x.reshape(work.case.tasks, -1, *x.shape[1:]) for k, x in batch.items()}


class _PenaltyUnderVmap(Wasserstein):
    """The gradient penalty with `torch.func.grad`: vmap refuses `torch.autograd.grad`."""

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """As `Wasserstein.critic`."""
        length = (_slope(net, mix * real + (1 - mix) * fake).square().sum(1) + 1e-16).sqrt()
        loss: Tensor = net(fake) - net(real) + self.penalty * (length - 1) ** 2
        return loss


class _R1UnderVmap(NonSaturating):
    """The slope at real images with `torch.func.grad`."""

    def critic(self, net: Net, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:  # noqa: ARG002
        """As `NonSaturating.critic`."""
        steep = 0.5 * self.r1 * _slope(net, real).square().sum(1)
        return F.softplus(-net(real)) + F.softplus(net(fake)) + steep


def _slope(net: Net, at: Tensor) -> Tensor:
    slope: Tensor = grad(lambda x: net(x).sum())(at)
    return slope.flatten(1)


def _without_inner_autograd(work: Work) -> Work:
    objective = getattr(work.family, "objective", None)
    if isinstance(objective, Wasserstein):
        functional_one: Any = _PenaltyUnderVmap(penalty=objective.penalty)
    elif isinstance(objective, NonSaturating) and objective.r1:
        functional_one = _R1UnderVmap(r1=objective.r1)
    else:
        return work
    other = copy.copy(work)
    other.family = replace(work.family, objective=functional_one)  # type: ignore[type-var]
    return other
