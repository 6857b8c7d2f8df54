"""The packages, each in its own documented idiom."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from benchmarks.engine.byhand import NotOffered
from benchmarks.engine.work import Step, Task, Team, Work, add, nets_of, zeros
from metasearch.models.base import Params


def learn2learn(work: Work) -> Step:
    """`MAML(module).clone()` for each task, then `adapt(loss)`; `backward` reaches the module."""
    if work.case.optimizer != "sgd":
        raise NotOffered("adapt() takes SGD steps only")
    maml = _learn2learn_maml()
    shared = {
        player: maml(work.team(player), lr=work.case.lr, first_order=not work.second)
        for player in work.family.players
    }

    def one(task: Task, total: Params) -> None:
        clones = {player: module.clone() for player, module in shared.items()}
        nets = nets_of(clones, work)
        for player, noise in task.moves:
            clones[player].adapt(work.loss(player, nets, task.support, noise))
        if work.case.method == "reptile":
            for player, clone in clones.items():
                _displace(work, player, list(clone.module.parameters()), total)
        for player, noise in task.outer.items():
            loss = work.loss(player, nets, task.query, noise)
            loss.backward(inputs=list(shared[player].parameters()))  # type: ignore[no-untyped-call]

    def run() -> Params:
        total = zeros(work)
        for task in work.tasks:
            one(task, total)
        return _collected(work, total)

    return run


def higher(work: Work) -> Step:
    """`innerloop_ctx` for each task and player; first-order gradients at the patched weights."""
    if work.second and work.case.optimizer == "adam":
        raise NotOffered("its Adam adds epsilon before the bias is corrected: other curvature")
    package = _package("higher")
    teams = {player: work.team(player) for player in work.family.players}
    make = torch.optim.SGD if work.case.optimizer == "sgd" else torch.optim.Adam
    optimizers = {p: make(team.parameters(), lr=work.case.lr) for p, team in teams.items()}

    def one(task: Task, total: Params) -> None:
        with ExitStack() as stack:
            opened = {
                player: stack.enter_context(
                    package.innerloop_ctx(
                        team,
                        optimizers[player],
                        copy_initial_weights=False,
                        track_higher_grads=work.second,
                    )
                )
                for player, team in teams.items()
            }
            patched = {player: pair[0] for player, pair in opened.items()}
            nets = nets_of(patched, work)
            for player, noise in task.moves:
                opened[player][1].step(work.loss(player, nets, task.support, noise))
            if work.case.method == "reptile":
                for player, module in patched.items():
                    _displace(work, player, list(module.parameters()), total)
            for player, noise in task.outer.items():
                loss = work.loss(player, nets, task.query, noise)
                if work.second:
                    at = list(teams[player].parameters())
                    loss.backward(inputs=at)  # type: ignore[no-untyped-call]
                else:
                    grads = torch.autograd.grad(loss, list(patched[player].parameters()))
                    add(total, work.mine[player], grads, work.case.tasks)

    def run() -> Params:
        total = zeros(work)
        for task in work.tasks:
            one(task, total)
        return _collected(work, total)

    return run


def torchopt_stateful(work: Work) -> Step:
    """`MetaSGD` or `MetaAdam`, with `extract_state_dict` and `recover_state_dict` around a task."""
    if not work.second:
        raise NotOffered("its meta-optimisers always keep the graph")
    package = _package("torchopt")
    teams = {player: work.team(player) for player in work.family.players}
    if work.case.optimizer == "sgd":
        inner = {p: package.MetaSGD(team, lr=work.case.lr) for p, team in teams.items()}
    else:
        inner = {
            p: package.MetaAdam(team, lr=work.case.lr, eps=1e-8, eps_root=1e-30)
            for p, team in teams.items()
        }
    start = {player: list(team.parameters()) for player, team in teams.items()}
    nets = nets_of(teams, work)

    def one(task: Task) -> None:
        saved = [
            (thing, package.extract_state_dict(thing, by="reference"))
            for thing in (*teams.values(), *inner.values())
        ]
        for player, noise in task.moves:
            inner[player].step(work.loss(player, nets, task.support, noise))
        for player, noise in task.outer.items():
            loss = work.loss(player, nets, task.query, noise)
            loss.backward(inputs=start[player])  # type: ignore[no-untyped-call]
        for thing, state in saved:
            package.recover_state_dict(thing, state)

    def run() -> Params:
        for task in work.tasks:
            one(task)
        return _collected(work, zeros(work))

    return run


class _Bound:
    """A team called with weights from outside, and its optimiser's state."""

    def __init__(self, team: Team, package: Any, optimizer: Any, *, second: bool) -> None:
        self._team, self._optimizer, self._second = team, optimizer, second
        self._apply = package.apply_updates
        self._keys = [name for name, _ in team.named_parameters()]
        self.weights: tuple[Tensor, ...] = tuple(team.parameters())
        self._state = optimizer.init(self.weights)

    def __call__(self, *inputs: Any) -> Tensor:
        own = dict(zip(self._keys, self.weights, strict=True))
        answer: Tensor = functional_call(self._team, own, inputs)
        return answer

    def step(self, loss: Tensor) -> None:
        """One step; without second derivatives the new weights are leaves again."""
        grads = torch.autograd.grad(loss, self.weights, create_graph=self._second)
        updates, self._state = self._optimizer.update(grads, self._state, inplace=False)
        moved = self._apply(self.weights, updates, inplace=False)
        if not self._second:
            moved = tuple(p.detach().requires_grad_() for p in moved)
        self.weights = moved


def torchopt_functional(work: Work) -> Step:
    """`torchopt.sgd` or `adam` beside `functional_call`; what is not differentiated is detached."""
    package = _package("torchopt")
    if work.case.optimizer == "sgd":
        optimizer = package.sgd(lr=work.case.lr)
    else:
        optimizer = package.adam(lr=work.case.lr, eps=1e-8, eps_root=1e-30)
    teams = {player: work.team(player) for player in work.family.players}

    def one(task: Task, total: Params) -> None:
        bound = {
            player: _Bound(team, package, optimizer, second=work.second)
            for player, team in teams.items()
        }
        nets = nets_of(bound, work)
        for player, noise in task.moves:
            bound[player].step(work.loss(player, nets, task.support, noise))
        if work.case.method == "reptile":
            for player, own in bound.items():
                _displace(work, player, list(own.weights), total)
        for player, noise in task.outer.items():
            at = list(teams[player].parameters()) if work.second else bound[player].weights
            grads = torch.autograd.grad(work.loss(player, nets, task.query, noise), at)
            add(total, work.mine[player], grads, work.case.tasks)

    def run() -> Params:
        total = zeros(work)
        for task in work.tasks:
            one(task, total)
        return total

    return run


def _displace(work: Work, player: str, fast: list[Tensor], total: Params) -> None:
    names, shared = work.mine[player], work.shared
    with torch.no_grad():
        gone = [shared[name] - p for name, p in zip(names, fast, strict=True)]
    add(total, names, gone, work.case.tasks)


def _collected(work: Work, total: Params) -> Params:
    """Add what `backward` left at the shared parameters, and clear it."""
    for name, p in work.shared.items():
        if p.grad is not None:
            add(total, [name], [p.grad], work.case.tasks)
            p.grad = None
    return total


def _package(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def _learn2learn_maml() -> Any:
    """learn2learn's MAML, unmodified, also where what the rest of it imports is missing.

    Its top level imports gym, torchvision and more; MAML itself needs torch only.
    """
    here = "learn2learn.algorithms.maml"
    if here not in sys.modules:
        try:
            _package("learn2learn")
        except ImportError:
            _open_packages("learn2learn", "learn2learn.algorithms")
    return _package(here).MAML


def _open_packages(top: str, *below: str) -> None:
    """Let modules below these packages be imported without running the packages themselves.

    Raises:
        ImportError: the topmost is not installed.
    """
    found = importlib.util.find_spec(top)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"No module named {top!r}")
    root = Path(found.submodule_search_locations[0])
    for name in [name for name in sys.modules if name.partition(".")[0] == top]:
        del sys.modules[name]
    for name in (top, *below):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
