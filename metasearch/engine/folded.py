"""The fast weights of all tasks at once, in task-aware twins of the nets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from metasearch.engine.base import InnerLoop, Order, TaskGradients
from metasearch.engine.layers import TaskLayer
from metasearch.engine.pieces import Averaged, Piece, average
from metasearch.engine.products import unrounded
from metasearch.engine.rules import Rule
from metasearch.engine.twins import Maker, twin_of
from metasearch.models.base import Learner, Nets, Params


class BatchedAdapted:
    """Fast weights of all tasks in task-aware twins of the nets."""

    def __init__(
        self,
        learner: Learner,
        tasks: int,
        inner: InnerLoop,
        order: Order,
        rates: Params,
        *,
        low_rank: bool,
    ) -> None:
        self.learner = learner
        self.tasks = tasks
        self.gradients = 0
        self._inner = inner
        self._order = order
        self._rates = {name: r.detach().clone().requires_grad_() for name, r in rates.items()}
        make = Maker(tasks, order, inner, learner.adapting(inner.adapts), low_rank)
        self._twins = {name: twin_of(net, f"{name}.", make) for name, net in learner.nets.items()}
        self._layers = {
            player: [
                layer
                for net in nets
                for layer in self._twins[net].modules()
                if isinstance(layer, TaskLayer)
            ]
            for player, nets in learner.family.players.items()
        }
        self._moving = {
            player: [layer for layer in layers if layer.moves]
            for player, layers in self._layers.items()
        }
        self._every = [layer for layers in self._layers.values() for layer in layers]
        self._rules = {p: Rule(inner, self._rates, inner.moves(learner, p)) for p in self._layers}
        self._spent = dict.fromkeys(self._layers, 0)  # gradients in inner steps

    @property
    def nets(self) -> Nets:
        """The nets with each task's own fast weights."""
        return self._twins

    def step(self, player: str, loss: Tensor) -> None:
        """One inner step of `player`, in every task at once."""
        self.play({player: loss})

    def play(self, losses: Mapping[str, Tensor]) -> None:
        """All gradients at the old values, then all moves."""
        second = self._order == 2
        found = {
            player: self._differentiate(self._moving[player], loss, create=second)
            for player, loss in losses.items()
            if self._moving[player]
        }
        for player, grads in found.items():
            self.gradients += losses[player].numel()
            self._spent[player] += losses[player].numel()
            with unrounded(losses[player]):
                self._move(player, grads)
        if second:
            for layer in self._every:
                layer.rename()
        self._forget()

    def meta_gradient(self, losses: Mapping[str, Tensor], order: Order) -> TaskGradients:
        """Each player's loss differentiated in its own meta-parameters; mean of finite tasks.

        With order 2, with learned rates, and in layers that do not move, tasks are summed inside
        the graph: if one is not finite, the values may not be either, and whoever asked runs the
        finite ones again by themselves.
        """
        finite = torch.stack([self._by_task(x).isfinite() for x in losses.values()]).all(0)
        found: dict[str, Piece] = {}
        rates: Params = {}
        for player, loss in losses.items():
            # Going back through an inner step costs about one more gradient each.
            self.gradients += loss.numel() + (self._spent[player] if order == 2 else 0)
            rates |= self._of_rates(player, loss)
            if order == 2:
                found |= self._through_the_steps(player, loss)
            else:
                found |= self._at_the_end(player, loss)
        self._forget()
        return average(found, finite, rates)

    def _through_the_steps(self, player: str, loss: Tensor) -> dict[str, Piece]:
        leaves = {
            layer.place + name: leaf
            for layer in self._layers[player]
            for name, leaf in layer.start.items()
        }
        grads = self._grad(loss, list(leaves.values()), keep=True)
        return {name: Averaged(g / self.tasks) for name, g in zip(leaves, grads, strict=True)}

    def _at_the_end(self, player: str, loss: Tensor) -> dict[str, Piece]:
        layers = self._layers[player]
        grads = self._differentiate(layers, loss, create=False)
        return {
            layer.place + name: piece
            for layer, own in zip(layers, grads, strict=True)
            for name, piece in layer.pieces(own).items()
        }

    def _of_rates(self, player: str, loss: Tensor) -> Params:
        """The gradient in the learned rates of the player's parameters, if it has any."""
        own = {n: r for n, r in self._rates.items() if self.learner.owner(n) == player}
        if not own:
            return {}
        grads = self._grad(loss, list(own.values()), keep=True)
        return {name: g / self.tasks for name, g in zip(own, grads, strict=True)}

    def displacement(self, weights: Tensor | None = None) -> TaskGradients:
        """Meta-parameters minus fast weights, averaged over finite tasks."""
        found = self._moved()
        if weights is not None:
            found = {name: piece.weighted(weights) for name, piece in found.items()}
        device = next(iter(self.learner.parameters().values())).device
        return average(found, torch.ones(self.tasks, dtype=torch.bool, device=device))

    def sketch(self, dims: int) -> Tensor:
        """A random projection of each task's displacement, [tasks, dims]."""
        parts = [piece.sketch(name, dims) for name, piece in self._moved().items()]
        return torch.stack([x.expand(self.tasks, dims) for x in parts]).sum(0)

    def _moved(self) -> dict[str, Piece]:
        return {layer.place + n: x for layer in self._every for n, x in layer.moved().items()}

    def state(self, task: int) -> Params:
        """The fast weights of one task, detached."""
        return {layer.place + n: x for layer in self._every for n, x in layer.weights(task).items()}

    def _by_task(self, loss: Tensor) -> Tensor:
        return loss.reshape(self.tasks, -1).mean(1)

    def _grad(
        self, loss: Tensor, at: list[Tensor], *, keep: bool, create: bool = False
    ) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            self._by_task(loss).sum(),  # no task sees another's weights: one sum serves all
            at,
            create_graph=create,
            retain_graph=keep,
            allow_unused=True,
            materialize_grads=True,
        )

    def _differentiate(
        self, layers: Sequence[TaskLayer], loss: Tensor, *, create: bool
    ) -> list[list[Tensor]]:
        """The gradients of the layers' probes, layer by layer."""
        probes = [layer.probes() for layer in layers]
        flat = self._grad(loss, [p for own in probes for p in own], keep=create, create=create)
        parts = iter(flat)
        return [[next(parts) for _ in own] for own in probes]

    def _move(self, player: str, grads: Sequence[Sequence[Tensor]]) -> None:
        layers, rule, scale = self._moving[player], self._rules[player], None
        if strength := self._inner.proximal:
            grads = [layer.pulled(g, strength) for layer, g in zip(layers, grads, strict=True)]
        if self._inner.clip:
            squares = [layer.norms(g) for layer, g in zip(layers, grads, strict=True)]
            norm = (torch.stack(squares).sum(0) + 1e-16).sqrt()
            scale = (self._inner.clip / norm).clamp(max=1.0)
        for layer, g in zip(layers, grads, strict=True):
            layer.move(g, rule, scale)
        rule.steps += 1

    def _forget(self) -> None:
        for layer in self._every:
            layer.forget()
