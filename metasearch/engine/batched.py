"""Tasks folded into the batch: models see flat batches, only their layers know about tasks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from metasearch.engine.base import Adapted, InnerLoop, Order, TaskGradients
from metasearch.engine.layers import TaskLayer
from metasearch.engine.loop import Loop
from metasearch.engine.pieces import Averaged, Piece, average
from metasearch.engine.products import unrounded
from metasearch.engine.rules import Rule
from metasearch.engine.shared import Shared, modules_at, twins_at
from metasearch.engine.twins import Maker, UnknownLayer, twin_of
from metasearch.errors import ConfigError
from metasearch.models.base import Learner, Nets, Params, example, noise_per_task
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
        """Start every task at the meta-parameters.

        Raises:
            ConfigError: the family has no part called ``inner.adapts``.
        """
        if not learner.parameters():
            return Shared(learner, tasks, rates or {}, modules_at)
        form = formulation(learner)
        if inner.steps == 0 and form:  # one that rows of a task depend on each other in has none
            return Shared(learner, tasks, rates or {}, twins_at)
        if form is None:
            return Loop().open(learner, tasks, inner, order=order, rates=rates)
        thin = form == "low_rank"
        return BatchedAdapted(learner, tasks, inner, order, rates or {}, low_rank=thin)


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


Form = Literal["low_rank", "stacked"]


def formulation(learner: Learner) -> Form | None:
    """How a family's layers can be treated; None is the loop. Tried once per family and shape."""
    weight = next(iter(learner.parameters().values()))
    family: Hashable = learner.family  # type: ignore[assignment]  # a frozen dataclass
    with unrounded(weight):
        return _formulation(family, learner.shape, str(weight.device))


@lru_cache(maxsize=64)
def _formulation(family: Hashable, shape: tuple[int, int, int], device: str) -> Form | None:
    """The first that moves a small learner as the loop does.

    Its weights are shaken: behind one that starts at zero nothing would move at all.

    A loss that differentiates a net in its input uses the weights a second time, out of sight of
    a layer's outputs: the low-rank form then misses a part, and stacked weights do not.
    """
    probe = Learner.create(family, shape, Stream(0).at("probe"))  # type: ignore[arg-type]
    make = Stream(0).at("probe", "shaken").torch()
    with torch.no_grad():
        for p in probe.parameters().values():
            p.add_(torch.randn(p.shape, generator=make), alpha=0.1)
    _complain_of_state(probe)
    reason = _shared_weights(probe)
    forms: tuple[Form, ...] = () if reason else ("low_rank", "stacked")
    for form in forms:
        # What a form misses may be as small as its weight, and not every device knows doubles.
        reason = _difference(probe, "cpu", torch.float64, low_rank=form == "low_rank")
        if not reason and device != "cpu":
            reason = _difference(probe, device, torch.float32, low_rank=form == "low_rank")
        if not reason:
            return form
    log.warning("%s runs on the loop engine, task by task: %s", probe.family.name, reason)
    return None


def _complain_of_state(learner: Learner) -> None:
    """Refuse nets that answer the same question differently the second time."""
    family, place = learner.family, Stream(0).at("probe", "twice")
    batch = example(family.domains, learner.shape, 4, place)
    noise = family.draw(batch, place.at("noise"))
    for player in family.players:
        with contextlib.suppress(Exception):  # told where it is run in earnest
            first, again = (family.loss(player, learner.nets, batch, noise) for _ in range(2))
            if not torch.allclose(first, again, equal_nan=True):
                break
    else:
        return
    raise ConfigError(
        f"family {family.name!r}: the loss of {player!r} differs from one call to the next, on the "
        "same images and noise. Take what is random from the noise (no dropout), and keep no state "
        "in nets (no spectral_norm of torch's; `metasearch.models.spectral` has one without)."
    )


def _shared_weights(learner: Learner) -> str:
    for name, net in learner.nets.items():
        every = list(net.named_parameters(remove_duplicate=False))
        if len(every) != len(list(net.parameters())):
            return f"two layers of its {name} share weights"
    return ""


def _difference(learner: Learner, device: str, dtype: torch.dtype, *, low_rank: bool) -> str:
    """Why the twins cannot stand for the nets; empty if one inner step of each moves alike."""
    family, inner = learner.family, InnerLoop(steps=1, lr=0.1, clip=1.0)
    try:
        for net in learner.nets.values():
            net.to(device, dtype)
        place = Stream(0).at("probe", "images")
        drawn = example(family.domains, learner.shape, 4, place, dtype=dtype)
        batch: Batch = {domain: x.to(device) for domain, x in drawn.items()}
        noise = noise_per_task(family, Stream(0).at("probe"), ["a", "b"])(batch)
        twin: Adapted = BatchedAdapted(learner, 2, inner, 1, {}, low_rank=low_rank)
        for adapted in (both := (twin, Loop().open(learner, 2, inner))):
            for player in family.players:
                adapted.step(player, family.loss(player, adapted.nets, batch, noise))
        ours, theirs = (adapted.state(1) for adapted in both)
    except UnknownLayer as layer:
        return f"the layer {layer} is not known to the batched engine"
    except Exception as error:  # whatever a family may do to layers that it does not own
        return f"it uses its layers in a way of its own ({type(error).__name__}: {error})"
    start, share = learner.parameters(), 1e-8 if dtype is torch.float64 else 1e-2
    for name, mine in ours.items():
        moved = (theirs[name] - start[name]).norm()
        if (mine - theirs[name]).norm() > share * moved + 1e-3 * share:
            return f"{name} does not move as it should"
    return ""
