"""Our engines through our algorithms' own code, and plain training as a yardstick."""

from __future__ import annotations

import copy

import torch

from benchmarks.engine.work import Step, Work
from metasearch.algorithms.base import MetaStep
from metasearch.engine import Batched, Loop
from metasearch.engine.base import Engine
from metasearch.models.base import Params


def loop(work: Work) -> Step:
    """The reference: one task after another.

    Raises:
        ArithmeticError: when stepped, a task diverges; a benchmark needs finite numbers.
    """
    return _engine(work, Loop())


def batched(work: Work) -> Step:
    """Tasks folded into the batch."""
    return _engine(work, Batched())


def within(megabytes: int, work: Work) -> Step:
    """Tasks folded into the batch, as many at once as the memory allows."""
    return _engine(work, Batched(memory_mb=megabytes))


def _engine(work: Work, engine: Engine) -> Step:
    step, algorithm = MetaStep(engine, work.learner), work.case.algorithm

    def run() -> Params:
        found = algorithm.meta_gradient(step, work.episodes, work.noise)
        if not bool(found.finite.all()):  # left out of the mean by us, and by nobody else
            raise ArithmeticError(f"{work.case.name}: tasks diverge; lower the case's `lr`")
        return found.values

    return run


def supervised(work: Work) -> Step:
    """Plain training on the same images with as many passes: one set of weights, one big batch.

    No meta-gradient comes out of it. Its rate is what the same kernels reach without tasks; its
    passes are first-order, so MAML's arithmetic is set against its rate, not its time.
    """
    nets = {name: copy.deepcopy(net) for name, net in work.learner.nets.items()}
    mine = {
        player: [p for name in own for p in nets[name].parameters()]
        for player, own in work.family.players.items()
    }
    make = torch.optim.SGD if work.case.optimizer == "sgd" else torch.optim.Adam

    def move(player: str, optimizer: torch.optim.Optimizer | None, loss: torch.Tensor) -> None:
        for p, g in zip(mine[player], torch.autograd.grad(loss, mine[player]), strict=True):
            p.grad = g
        if optimizer is not None:
            optimizer.step()

    def run() -> Params:
        for name, net in nets.items():
            net.load_state_dict(work.learner.nets[name].state_dict())
        optimizers = {player: make(own, lr=work.case.lr) for player, own in mine.items()}
        for player, noise in work.moves():
            move(player, optimizers[player], work.loss(player, nets, work.support, noise))
        for player, noise in work.outer().items():
            move(player, None, work.loss(player, nets, work.episodes.query, noise))
        return {}

    return run
