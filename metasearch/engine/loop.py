"""The reference engine: one task after another, any module, every derivative exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasearch.engine.base import Adapted, InnerLoop, Order, TaskGradients
from metasearch.engine.rules import Rule
from metasearch.engine.sketch import of_stacked
from metasearch.models.base import Learner, Net, Nets, Params
from metasearch.registry import component


@component
class Loop:
    """Calls each net once per task with that task's weights. Slow, obvious, always right."""

    name: Literal["loop"] = "loop"
    memory_mb: int = 4096  # for the tasks of a meta-step together; more of them run in parts

    def open(
        self,
        learner: Learner,
        tasks: int,
        inner: InnerLoop,
        *,
        order: Order = 1,
        rates: Params | None = None,
    ) -> Adapted:
        """Start every task at a copy of the meta-parameters.

        Raises:
            ConfigError: the family has no part called ``inner.adapts``.
        """
        return LoopAdapted(learner, tasks, inner, order, rates or {})


class LoopAdapted:
    """The fast weights of each task as a dictionary of its own."""

    def __init__(
        self, learner: Learner, tasks: int, inner: InnerLoop, order: Order, rates: Params
    ) -> None:
        self.learner = learner
        self.tasks = tasks
        self.gradients = 0
        self._inner = inner
        self._order = order
        meta, moving = learner.parameters(), learner.adapting(inner.adapts)
        # A copy per task, so that differentiating gives each task's gradient by itself.
        self._start = [_copies(meta) for _ in range(tasks)]
        self._rates = [_copies(rates) for _ in range(tasks)]
        self._fast = [dict(start) for start in self._start]
        self._mine = {
            player: [name for name in meta if learner.owner(name) == player]
            for player in learner.family.players
        }
        self._moving = {
            player: [name for name in names if name in moving]
            for player, names in self._mine.items()
        }
        self._rules = {
            player: [Rule(inner, own, inner.moves(learner, player)) for own in self._rates]
            for player in self._mine
        }
        self._spent = dict.fromkeys(self._mine, 0)  # gradients in inner steps

    @property
    def nets(self) -> Nets:
        """The nets with each task's own fast weights."""
        return {
            name: _per_task(name, module, self._fast) for name, module in self.learner.nets.items()
        }

    def step(self, player: str, loss: Tensor) -> None:
        """One inner step of `player`, in every task."""
        self.play({player: loss})

    def play(self, losses: Mapping[str, Tensor]) -> None:
        """All gradients at the old values, then all moves."""
        second = self._order == 2
        found = {}
        for player, loss in losses.items():
            names = self._moving[player]
            if names:
                found[player] = self._gradients(names, loss, self._fast, keep=second, create=second)
                self.gradients += loss.numel()
                self._spent[player] += loss.numel()
        for player, gradients in found.items():
            self._move(player, gradients)
        if second:
            for fast in self._fast:
                # New names for the same values: the next step differentiates in these alone, not
                # also in what the other players have come to because of them.
                fast.update({name: p.view_as(p) for name, p in fast.items()})

    def meta_gradient(self, losses: Mapping[str, Tensor], order: Order) -> TaskGradients:
        """Each player's loss differentiated in its own meta-parameters; mean of finite tasks."""
        values: list[Params] = [{} for _ in range(self.tasks)]
        rates: list[Params] = [{} for _ in range(self.tasks)]
        finite = torch.stack([self._by_task(loss).isfinite() for loss in losses.values()]).all(0)
        for player, loss in losses.items():
            learned = [name for name in self._moving[player] if name in self._rates[0]]
            keep = order == 2 or bool(learned)
            at = self._start if order == 2 else self._fast
            for into, names, where in (
                (values, self._mine[player], at),
                (rates, learned, self._rates),
            ):
                found = self._gradients(names, loss, where, keep=keep, create=False)
                for mine, task in zip(into, found, strict=True):
                    mine.update(task)
            # Going back through an inner step costs about one more gradient each.
            self.gradients += loss.numel() + (self._spent[player] if order == 2 else 0)
        return _average(values, rates, finite)

    def displacement(self, weights: Tensor | None = None) -> TaskGradients:
        """Meta-parameters minus fast weights, averaged over finite tasks."""
        moved = self._moved()
        if weights is not None:
            moved = [
                {name: w * x for name, x in task.items()}
                for w, task in zip(weights, moved, strict=True)
            ]
        everyone = torch.ones(self.tasks, dtype=torch.bool)
        return _average(moved, [{} for _ in moved], everyone)

    def sketch(self, dims: int) -> Tensor:
        """A random projection of each task's displacement, [tasks, dims]."""
        moved = self._moved()
        each = [
            of_stacked(name, torch.stack([task[name] for task in moved]), dims) for name in moved[0]
        ]
        return torch.stack(each).sum(0)

    def _moved(self) -> list[Params]:
        return [
            {name: (start[name] - fast[name]).detach() for name in start}
            for start, fast in zip(self._start, self._fast, strict=True)
        ]

    def state(self, task: int) -> Params:
        """The fast weights of one task, detached."""
        return {name: p.detach() for name, p in self._fast[task].items()}

    def _by_task(self, loss: Tensor) -> Tensor:
        return loss.reshape(self.tasks, -1).mean(1)

    def _gradients(
        self,
        names: Sequence[str],
        loss: Tensor,
        at: Sequence[Params],
        *,
        keep: bool,
        create: bool,
    ) -> list[Params]:
        """The gradient in these tensors of each task; tasks share none, so one sum serves all."""
        if not names:
            return [{} for _ in at]
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

    def _move(self, player: str, gradients: list[Params]) -> None:
        for task, found in enumerate(gradients):
            rule, fast = self._rules[player][task], self._fast[task]
            pulled = self._pulled(found, fast, self._start[task])
            for name, g in _clip(pulled, self._inner.clip).items():
                new = fast[name] - rule(name, g)
                keep = self._order == 2 or rule.learns
                fast[name] = new if keep else new.detach().requires_grad_()
            rule.steps += 1

    def _pulled(self, gradients: Params, fast: Params, start: Params) -> Params:
        """With the derivative of the pull back to where the task started."""
        strength = self._inner.proximal
        if not strength:
            return gradients
        back = {name: strength * (fast[name] - start[name]) for name in gradients}
        keep = self._order == 2
        return {n: g + (back[n] if keep else back[n].detach()) for n, g in gradients.items()}


def _copies(values: Params) -> Params:
    return {name: p.detach().clone().requires_grad_() for name, p in values.items()}


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


def _average(tasks: Sequence[Params], rates: Sequence[Params], finite: Tensor) -> TaskGradients:
    """The mean over tasks whose every number is finite."""
    whole = [
        all(bool(g.isfinite().all()) for g in (*task.values(), *own.values()))
        for task, own in zip(tasks, rates, strict=True)
    ]
    finite = finite & torch.tensor(whole, device=finite.device)

    def mean(parts: Sequence[Params]) -> Params:
        counted = [part for part, ok in zip(parts, finite.tolist(), strict=True) if ok]
        if not counted:
            return {name: torch.zeros_like(g) for name, g in parts[0].items()}
        return {name: torch.stack([part[name] for part in counted]).mean(0) for name in counted[0]}

    return TaskGradients(mean(tasks), finite, mean(rates))
