"""The reference engine: one task after another, any module, every derivative exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasearch.engine.base import Adapted, InnerLoop, Order, TaskGradients
from metasearch.models.base import Learner, Net, Nets, Params
from metasearch.registry import component


@component
class Loop:
    """Calls each net once per task with that task's weights. Slow, obvious, always right."""

    name: Literal["loop"] = "loop"

    def open(self, learner: Learner, tasks: int, inner: InnerLoop, *, order: Order = 1) -> Adapted:
        """Start every task at a copy of the meta-parameters."""
        return LoopAdapted(learner, tasks, inner, order)


class LoopAdapted:
    """The fast weights of each task as a dictionary of its own."""

    def __init__(self, learner: Learner, tasks: int, inner: InnerLoop, order: Order) -> None:
        self.learner = learner
        self.tasks = tasks
        self.gradients = 0
        self._inner = inner
        self._order = order
        meta = learner.parameters()
        # A copy per task, so that differentiating gives each task's gradient by itself.
        self._start = [
            {name: p.detach().clone().requires_grad_() for name, p in meta.items()}
            for _ in range(tasks)
        ]
        self._fast = [dict(start) for start in self._start]
        self._mine = {
            player: [name for name in meta if learner.owner(name) == player]
            for player in learner.family.players
        }
        self._rules = [_Rule(inner) for _ in range(tasks)]
        self._spent = dict.fromkeys(learner.family.players, 0)  # gradients in inner steps

    @property
    def nets(self) -> Nets:
        """The nets with each task's own fast weights."""
        return {
            name: _per_task(name, module, self._fast) for name, module in self.learner.nets.items()
        }

    def step(self, player: str, loss: Tensor) -> None:
        """One inner step of `player`, in every task."""
        self._move(self._differentiate(player, loss))

    def play(self, losses: Mapping[str, Tensor]) -> None:
        """All gradients at the old values, then all moves."""
        found = {player: self._differentiate(player, loss) for player, loss in losses.items()}
        for gradients in found.values():
            self._move(gradients)

    def meta_gradient(self, losses: Mapping[str, Tensor], order: Order) -> TaskGradients:
        """Each player's loss differentiated in its own meta-parameters; mean of finite tasks."""
        values: list[Params] = [{} for _ in range(self.tasks)]
        finite = torch.stack([self._by_task(loss).isfinite() for loss in losses.values()]).all(0)
        for player, loss in losses.items():
            at = self._start if order == 2 else self._fast
            found = self._gradients(player, loss, at, keep=order == 2, create=False)
            for mine, task in zip(values, found, strict=True):
                mine.update(task)
            # Going back through an inner step costs about one more gradient each.
            self.gradients += loss.numel() + (self._spent[player] if order == 2 else 0)
        return _average(values, finite)

    def displacement(self) -> TaskGradients:
        """Meta-parameters minus fast weights, averaged over finite tasks."""
        moved = [
            {name: (start[name] - fast[name]).detach() for name in start}
            for start, fast in zip(self._start, self._fast, strict=True)
        ]
        return _average(moved, torch.ones(self.tasks, dtype=torch.bool))

    def state(self, task: int) -> Params:
        """The fast weights of one task, detached."""
        return {name: p.detach() for name, p in self._fast[task].items()}

    def _by_task(self, loss: Tensor) -> Tensor:
        return loss.reshape(self.tasks, -1).mean(1)

    def _differentiate(self, player: str, loss: Tensor) -> list[Params]:
        self.gradients += loss.numel()
        self._spent[player] += loss.numel()
        second = self._order == 2
        return self._gradients(player, loss, self._fast, keep=second, create=second)

    def _gradients(
        self, player: str, loss: Tensor, at: Sequence[Params], *, keep: bool, create: bool
    ) -> list[Params]:
        """The player's gradient in each task; tasks share no weight, so one sum serves all."""
        names = self._mine[player]
        flat = torch.autograd.grad(
            self._by_task(loss).sum(),
            [task[name] for task in at for name in names],
            retain_graph=keep,
            create_graph=create,
            allow_unused=True,
            materialize_grads=True,
        )
        width = len(names)
        return [
            dict(zip(names, flat[t * width : (t + 1) * width], strict=True))
            for t in range(self.tasks)
        ]

    def _move(self, gradients: list[Params]) -> None:
        for task, found in enumerate(gradients):
            change = self._rules[task].change(_clip(found, self._inner.clip))
            fast = self._fast[task]
            for name, delta in change.items():
                new = fast[name] - delta
                fast[name] = new if self._order == 2 else new.detach().requires_grad_()


class _Rule:
    """SGD or Adam, differentiable; one task's memory, so that it starts anew with each task."""

    def __init__(self, inner: InnerLoop) -> None:
        self._inner = inner
        self._memory: dict[str, tuple[int, Tensor, Tensor]] = {}

    def change(self, gradients: Params) -> Params:
        """What to subtract from each weight."""
        if self._inner.optimizer == "sgd":
            return {name: self._inner.lr * g for name, g in gradients.items()}
        return {name: self._adam(name, g) for name, g in gradients.items()}

    def _adam(self, name: str, g: Tensor) -> Tensor:
        """Kingma & Ba 2015, algorithm 1; epsilon under the root keeps it differentiable at 0."""
        zero = torch.zeros_like(g)
        t, m, v = self._memory.get(name, (0, zero, zero))
        t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        self._memory[name] = (t, m, v)
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        return self._inner.lr * m_hat / (v_hat + 1e-16).sqrt()


def _per_task(net: str, module: nn.Module, fast: Sequence[Params]) -> Net:
    """The net as a callable on flat batches: rows are cut by task, in order."""
    prefix = f"{net}."

    def call(*inputs: Tensor) -> Tensor:
        pieces: list[Any] = []
        for task, weights in enumerate(fast):
            own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            args = tuple(x.reshape(len(fast), -1, *x.shape[1:])[task] for x in inputs)
            pieces.append(functional_call(module, own, args))
        return torch.cat(pieces)

    return call


def _clip(gradients: Params, largest: float) -> Params:
    """Scale to at most this norm, over all of the player's parameters together."""
    if not largest:
        return gradients
    norm = torch.stack([g.square().sum() for g in gradients.values()]).sum()
    scale = (largest / (norm + 1e-16).sqrt()).clamp(max=1.0)
    return {name: g * scale for name, g in gradients.items()}


def _average(tasks: Sequence[Params], finite: Tensor) -> TaskGradients:
    """The mean over tasks whose every number is finite."""
    whole = [all(bool(g.isfinite().all()) for g in task.values()) for task in tasks]
    finite = finite & torch.tensor(whole)
    counted = [task for task, ok in zip(tasks, finite.tolist(), strict=True) if ok]
    if not counted:
        return TaskGradients({name: torch.zeros_like(g) for name, g in tasks[0].items()}, finite)
    mean = {name: torch.stack([task[name] for task in counted]).mean(0) for name in counted[0]}
    return TaskGradients(mean, finite)
