"""Tasks folded into the batch: models see flat batches, only their layers know about tasks."""

from __future__ import annotations

import copy
import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasearch.engine.base import Adapted, InnerLoop, Order, TaskGradients
from metasearch.engine.layers import (
    WIDE,
    ColumnConv,
    ColumnConvTranspose,
    GroupedConv,
    LowRankLinear,
    Rule,
    StackedLinear,
    TaskGroupNorm,
    TaskLayer,
)
from metasearch.engine.loop import Loop
from metasearch.models.base import Learner, Net, Nets, Params, noise_per_task
from metasearch.registry import component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch

log = logging.getLogger(__name__)


@component
class Batched:
    """All tasks at once: grouped convolutions, low-rank or stacked linear layers.

    A family with a layer it does not know, or that reaches into its layers' weights, runs on the
    loop: the same numbers, slower, with one line of notice.
    """

    name: Literal["batched"] = "batched"

    def open(self, learner: Learner, tasks: int, inner: InnerLoop, *, order: Order = 1) -> Adapted:
        """Start every task at the meta-parameters."""
        if inner.steps == 0:
            return Shared(learner, tasks)
        form = formulation(learner)
        if form is None:
            return Loop().open(learner, tasks, inner, order=order)
        return BatchedAdapted(learner, tasks, inner, order, low_rank=form == "low_rank")


class BatchedAdapted:
    """Fast weights of all tasks in task-aware twins of the nets."""

    def __init__(
        self, learner: Learner, tasks: int, inner: InnerLoop, order: Order, *, low_rank: bool
    ) -> None:
        self.learner = learner
        self.tasks = tasks
        self.gradients = 0
        self._inner = inner
        self._order = order
        make = _Maker(tasks, order, inner, low_rank)
        self._twins = {name: _twin(net, make) for name, net in learner.nets.items()}
        self._layers = {
            player: [
                (f"{net}.{path}", layer)
                for net in nets
                for path, layer in self._twins[net].named_modules()
                if isinstance(layer, TaskLayer)
            ]
            for player, nets in learner.family.players.items()
        }
        self._rules = {player: make_rule(inner) for player in self._layers}
        self._spent = dict.fromkeys(self._layers, 0)  # gradients in inner steps

    @property
    def nets(self) -> Nets:
        """The nets with each task's own fast weights."""
        return self._twins

    def step(self, player: str, loss: Tensor) -> None:
        """One inner step of `player`, in every task at once."""
        grads = self._differentiate(player, loss, create=self._order == 2)
        self._count(player, loss)
        self._move(player, grads)
        self._forget()

    def play(self, losses: Mapping[str, Tensor]) -> None:
        """All gradients at the old values, then all moves."""
        found = {p: self._differentiate(p, x, create=self._order == 2) for p, x in losses.items()}
        for player, grads in found.items():
            self._count(player, losses[player])
            self._move(player, grads)
        self._forget()

    def meta_gradient(self, losses: Mapping[str, Tensor], order: Order) -> TaskGradients:
        """Each player's loss differentiated in its own meta-parameters; mean of finite tasks.

        With order 2 tasks are summed inside the graph: if one is not finite, the values may not
        be either, and whoever asked runs the finite ones again by themselves.
        """
        by_task = {p: x.reshape(self.tasks, -1).mean(1) for p, x in losses.items()}
        finite = torch.stack([x.isfinite() for x in by_task.values()]).all(0)
        for player, loss in losses.items():
            # Going back through an inner step costs about one more gradient each.
            self.gradients += loss.numel() + (self._spent[player] if order == 2 else 0)
        if order == 2:
            return self._through_the_steps(by_task, finite)
        found = {
            f"{path}.{name}": factors
            for player, loss in losses.items()
            for path, one in self._at_the_end(player, loss)
            for name, factors in one.items()
        }
        self._forget()
        return _average(found, finite)

    def _through_the_steps(self, by_task: Mapping[str, Tensor], finite: Tensor) -> TaskGradients:
        values: Params = {}
        for player, loss in by_task.items():
            leaves = {
                f"{path}.{name}": leaf
                for path, layer in self._layers[player]
                for name, leaf in layer.start.items()
            }
            grads = torch.autograd.grad(
                loss.sum(),
                list(leaves.values()),
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            values |= {name: g / self.tasks for name, g in zip(leaves, grads, strict=True)}
        return TaskGradients(values, finite)

    def _at_the_end(
        self, player: str, loss: Tensor
    ) -> list[tuple[str, dict[str, tuple[Tensor, ...]]]]:
        grads = iter(self._differentiate(player, loss, create=False))
        return [(path, layer.gradients(next(grads))) for path, layer in self._layers[player]]

    def displacement(self) -> TaskGradients:
        """Meta-parameters minus fast weights, averaged over finite tasks."""
        found = {
            f"{path}.{name}": factors
            for layers in self._layers.values()
            for path, layer in layers
            for name, factors in layer.moved().items()
        }
        return _average(found, torch.ones(self.tasks, dtype=torch.bool, device=_device(found)))

    def state(self, task: int) -> Params:
        """The fast weights of one task, detached."""
        return {
            f"{path}.{name}": value
            for layers in self._layers.values()
            for path, layer in layers
            for name, value in layer.weights(task).items()
        }

    def _differentiate(self, player: str, loss: Tensor, *, create: bool) -> list[list[Tensor]]:
        """The gradients of the player's probes, layer by layer; one sum serves all tasks."""
        probes = [layer.probes() for _, layer in self._layers[player]]
        flat = torch.autograd.grad(
            loss.reshape(self.tasks, -1).mean(1).sum(),
            [p for own in probes for p in own],
            create_graph=create,
            retain_graph=create,
            allow_unused=True,
            materialize_grads=True,
        )
        parts = iter(flat)
        return [[next(parts) for _ in own] for own in probes]

    def _count(self, player: str, loss: Tensor) -> None:
        self.gradients += loss.numel()
        self._spent[player] += loss.numel()

    def _move(self, player: str, grads: Sequence[Sequence[Tensor]]) -> None:
        layers = [layer for _, layer in self._layers[player]]
        scale = None
        if self._inner.clip:
            squares = [layer.norms(g) for layer, g in zip(layers, grads, strict=True)]
            norm = (torch.stack(squares).sum(0) + 1e-16).sqrt()
            scale = (self._inner.clip / norm).clamp(max=1.0)
        for layer, g in zip(layers, grads, strict=True):
            layer.move(g, self._rules[player], scale)

    def _forget(self) -> None:
        for layers in self._layers.values():
            for _, layer in layers:
                layer.forget()


class Shared:
    """No inner step, so all tasks have the meta-parameters: an ordinary pass over the batch."""

    def __init__(self, learner: Learner, tasks: int) -> None:
        self.learner = learner
        self.tasks = tasks
        self.gradients = 0
        self._weights = {
            name: p.detach().clone().requires_grad_() for name, p in learner.parameters().items()
        }

    @property
    def nets(self) -> Nets:
        """The nets with copies of the meta-parameters."""
        return {name: self._call(name, net) for name, net in self.learner.nets.items()}

    def _call(self, name: str, net: nn.Module) -> Net:
        own = {
            key.removeprefix(f"{name}."): w
            for key, w in self._weights.items()
            if key.startswith(f"{name}.")
        }
        return lambda *inputs: functional_call(net, own, inputs)

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
        return TaskGradients(values, torch.stack([x.isfinite() for x in by_task.values()]).all(0))

    def displacement(self) -> TaskGradients:
        """Nobody moved."""
        zero = {name: torch.zeros_like(w) for name, w in self._weights.items()}
        return TaskGradients(zero, torch.ones(self.tasks, dtype=torch.bool))

    def state(self, task: int) -> Params:
        """The meta-parameters, whichever the task."""
        del task
        return {name: w.detach() for name, w in self._weights.items()}


def make_rule(inner: InnerLoop) -> Rule:
    """SGD, or Adam with a memory that starts anew (Kingma & Ba 2015, algorithm 1)."""
    if inner.optimizer == "sgd":
        return lambda _, g: inner.lr * g
    memory: dict[str, tuple[int, Tensor, Tensor]] = {}

    def adam(name: str, g: Tensor) -> Tensor:
        t, m, v = memory.get(name, (0, torch.zeros_like(g), torch.zeros_like(g)))
        t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        memory[name] = (t, m, v)
        return inner.lr * (m / (1 - 0.9**t)) / (v / (1 - 0.999**t) + 1e-16).sqrt()

    return adam


@dataclass(frozen=True)
class _Maker:
    """Turns one layer into its task-aware twin."""

    tasks: int
    order: Order
    inner: InnerLoop
    low_rank: bool  # where it pays

    def __call__(self, source: nn.Module) -> TaskLayer | None:
        """The twin, or None for a layer that is not known."""
        kind = type(source)
        if kind is nn.Linear:
            assert isinstance(source, nn.Linear)
            return self._linear(source)
        if kind is nn.GroupNorm:
            assert isinstance(source, nn.GroupNorm)
            return TaskGroupNorm(source, self.tasks, self.order)
        if isinstance(source, nn.Conv2d | nn.ConvTranspose2d) and _plain(source):
            wide = min(source.in_channels, source.out_channels) >= WIDE
            if wide:
                return GroupedConv(source, self.tasks, self.order)
            if isinstance(source, nn.Conv2d):
                return ColumnConv(source, self.tasks, self.order)
            return ColumnConvTranspose(source, self.tasks, self.order)
        return None

    def _linear(self, source: nn.Linear) -> TaskLayer:
        ins, outs = source.in_features, source.out_features
        rank = self.inner.steps * ROWS_PER_STEP
        linear = self.low_rank and self.inner.optimizer == "sgd"
        if not linear or rank / 2 > ins * outs / (ins + outs):
            return StackedLinear(source, self.tasks, self.order)
        return LowRankLinear(source, self.tasks, self.order, rank)


ROWS_PER_STEP = 10  # images a step is expected to have; only the choice of formulation hangs on it


def _plain(source: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    square = all(len(set(x)) == 1 for x in (source.kernel_size, source.stride))
    return (
        type(source) in {nn.Conv2d, nn.ConvTranspose2d}
        and square
        and not isinstance(source.padding, str)
        and len(set(source.padding)) == 1
        and set(source.dilation) == {1}
        and source.groups == 1
        and source.padding_mode == "zeros"
        and not any(source.output_padding)
    )


def _twin(source: nn.Module, make: _Maker) -> nn.Module:
    """The module with its layers replaced; what has no weights is shared with the original."""
    made = make(source)
    if made is not None:
        return made
    if any(True for _ in source.parameters(recurse=False)):
        raise UnknownLayer(type(source).__name__)
    if not source._modules:
        return source
    twin = copy.copy(source)
    twin._modules = {
        name: None if child is None else _twin(child, make)
        for name, child in source._modules.items()
    }
    return twin


class UnknownLayer(Exception):  # noqa: N818 - not an error: the loop takes over
    """A layer with weights that has no task-aware twin."""


Form = Literal["low_rank", "stacked"]


def formulation(learner: Learner) -> Form | None:
    """How a family's layers can be treated; None is the loop. Tried once per family and shape."""
    device = next(iter(learner.parameters().values())).device
    family: Hashable = learner.family  # type: ignore[assignment]  # a frozen dataclass
    return _formulation(family, learner.shape, str(device))


@lru_cache(maxsize=64)
def _formulation(family: Hashable, shape: tuple[int, int, int], device: str) -> Form | None:
    """The first that moves a small learner as the loop does.

    A loss that differentiates a net in its input uses the weights a second time, out of sight of
    a layer's outputs: the low-rank form then misses a part, and stacked weights do not.
    """
    probe = Learner.create(family, shape, Stream(0).at("probe"))  # type: ignore[arg-type]
    for net in probe.nets.values():
        net.to(device)
    reason = _shared_weights(probe)
    forms: tuple[Form, ...] = () if reason else ("low_rank", "stacked")
    for form in forms:
        reason = _difference(probe, device, low_rank=form == "low_rank")
        if not reason:
            return form
    log.warning("%s runs on the loop engine, task by task: %s", probe.family.name, reason)
    return None


def _shared_weights(learner: Learner) -> str:
    for name, net in learner.nets.items():
        every = list(net.named_parameters(remove_duplicate=False))
        if len(every) != len(list(net.parameters())):
            return f"two layers of its {name} share weights"
    return ""


def _difference(learner: Learner, device: str, *, low_rank: bool) -> str:
    """Why the twins cannot stand for the nets; empty if one inner step of each moves alike."""
    family, inner = learner.family, InnerLoop(steps=1, lr=0.1, clip=1.0)
    make = Stream(0).at("probe", "images").torch()
    images = torch.rand(4, *learner.shape, generator=make).to(device) * 2 - 1
    batch: Batch = dict.fromkeys(family.domains, images)
    noise = noise_per_task(family, Stream(0).at("probe"), ["a", "b"])(batch)
    try:
        twin: Adapted = BatchedAdapted(learner, 2, inner, 1, low_rank=low_rank)
        for adapted in (both := (twin, Loop().open(learner, 2, inner))):
            for player in family.players:
                adapted.step(player, family.loss(player, adapted.nets, batch, noise))
        ours, theirs = (adapted.state(1) for adapted in both)
    except UnknownLayer as layer:
        return f"the layer {layer} is not known to the batched engine"
    except Exception as error:  # whatever a family may do to layers that it does not own
        return f"it uses its layers in a way of its own ({type(error).__name__}: {error})"
    start = learner.parameters()
    for name, mine in ours.items():
        moved = (theirs[name] - start[name]).norm()
        if (mine - theirs[name]).norm() > 1e-2 * moved + 1e-5:
            return f"{name} does not move as it should"
    return ""


def _average(found: Mapping[str, tuple[Tensor, ...]], finite: Tensor) -> TaskGradients:
    """The mean over finite tasks of D^T A, or of a stacked gradient, per parameter."""
    for factors in found.values():
        for x in factors:
            finite = finite & x.flatten(1).sum(1).isfinite()
    count = int(finite.sum())
    whole = count == len(finite)
    values: Params = {}
    for name, factors in found.items():
        kept = factors if whole else tuple(x[finite] for x in factors)
        if len(kept) == 1:
            values[name] = kept[0].sum(0) / max(count, 1)
        else:
            outs, inputs = (x.flatten(0, 1) for x in kept)
            values[name] = (outs.T @ inputs) / max(count, 1)
    return TaskGradients(values, finite)


def _device(found: Mapping[str, tuple[Tensor, ...]]) -> torch.device:
    return next(iter(found.values()))[0].device
