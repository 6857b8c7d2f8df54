"""Tasks folded into the batch: models see flat batches, only their layers know about tasks."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from metasearch.engine.base import Adapted, InnerLoop, Order, TaskGradients
from metasearch.engine.layers import TaskLayer
from metasearch.engine.loop import Loop
from metasearch.engine.rules import make_rule
from metasearch.engine.shared import Shared
from metasearch.engine.twins import Maker, UnknownLayer, twin_of
from metasearch.models.base import Learner, Nets, Params, noise_per_task
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
        make = Maker(tasks, order, inner, low_rank)
        self._twins = {name: twin_of(net, make) for name, net in learner.nets.items()}
        self._layers = {
            player: [
                (f"{net}.{path}", layer)
                for net in nets
                for path, layer in self._twins[net].named_modules()
                if isinstance(layer, TaskLayer)
            ]
            for player, nets in learner.family.players.items()
        }
        self._rules = {player: make_rule(inner, order) for player in self._layers}
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
