"""Layers that know that rows belong to tasks; all else in a model stays as it is.

Shapes: T tasks, flat inputs [T * n, ...] with tasks outermost. A stacked layer keeps the weights
of every task, [T, ...]. A low-rank layer never builds them: after SGD steps

    W_t = W_0 - sum_k c_k D_k^T A_k        A_k inputs, D_k gradients at the outputs, of step k

so one large product with the shared W_0 and a thin correction give its output, exactly, and the
mean of W_0 - W_t over tasks is one product as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn
from torch.func import functional_call

from metasearch.engine.pieces import Averaged, Piece, Product, Stacked
from metasearch.engine.products import linear, unrounded
from metasearch.engine.rules import Rule


class TaskLayer(nn.Module):
    """A layer with weights of its own for each task, stacked as [T, ...]."""

    moves = True  # in inner steps
    unstacked: frozenset[str] = frozenset()  # weights that the layer knows by other means

    def __init__(self, source: nn.Module, place: str, tasks: int, order: int) -> None:
        super().__init__()
        self.place = place  # "<net>.<path>."
        self.tasks = tasks
        self.order = order
        self.start = {name: p.detach() for name, p in source.named_parameters(recurse=False)}
        if order == 2:
            # One leaf shared by all tasks: the meta-gradient flows back into it as their sum.
            self.start = {name: p.clone().requires_grad_() for name, p in self.start.items()}
        self.fast = {n: self._stack(p) for n, p in self.start.items() if n not in self.unstacked}

    def _stack(self, p: Tensor) -> Tensor:
        wide = p.unsqueeze(0).expand(self.tasks, *p.shape)
        if self.order == 2:
            return wide
        # A copy even for one task: a view would let inner steps move the meta-parameters.
        return wide.clone(memory_format=torch.contiguous_format).requires_grad_()

    def weight(self) -> Tensor:
        """The weight as it is used, [T, ...]."""
        return self.fast["weight"]

    def probes(self) -> list[Tensor]:
        """What an inner step differentiates the loss in."""
        return list(self.fast.values())

    def norms(self, grads: Sequence[Tensor]) -> Tensor:
        """Squared norm of the weights' gradient in each task, [T]."""
        return torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0)

    def pulled(self, grads: Sequence[Tensor], strength: float) -> list[Tensor]:
        """The gradients with that of a pull back to where the tasks started."""
        back = [strength * (w - self.start[name]) for name, w in self.fast.items()]
        keep = self.order == 2
        return [g + (b if keep else b.detach()) for g, b in zip(grads, back, strict=True)]

    def move(self, grads: Sequence[Tensor], rule: Rule, scale: Tensor | None) -> None:
        """One inner step along the gradients of the probes, times `scale` [T]."""
        for (name, w), g in zip(list(self.fast.items()), grads, strict=True):
            scaled = g if scale is None else g * _wide(scale, g)
            if self.order == 2 or rule.learns:
                self.fast[name] = w - rule(self.place + name, scaled)
            else:
                rule.move(self.place + name, w, scaled)

    def rename(self) -> None:
        """New names for the same weights, in which the next step differentiates: in these alone.

        What other players have come to because of the weights hangs on the old names.
        """
        self.fast = {name: w.view_as(w) for name, w in self.fast.items()}

    def forget(self) -> None:
        """Drop what was recorded of earlier calls."""

    def pieces(self, grads: Sequence[Tensor]) -> dict[str, Piece]:
        """Each parameter's gradient, from those of the probes."""
        return {name: Stacked(g) for name, g in zip(self.fast, grads, strict=True)}

    def moved(self) -> dict[str, Piece]:
        """Each parameter's way: W_0 - W_t."""
        return {name: Stacked((self.start[name] - w).detach()) for name, w in self.fast.items()}

    def weights(self, task: int) -> dict[str, Tensor]:
        """The fast weights of one task."""
        return {name: w[task].detach().clone() for name, w in self.fast.items()}

    def by_task(self, x: Tensor) -> Tensor:
        """[T * n, ...] to [T, n, ...]."""
        return x.reshape(self.tasks, -1, *x.shape[1:])


class StillLayer(TaskLayer):
    """A layer that no inner step moves: the module itself, on a copy of its weights."""

    moves = False

    def __init__(self, source: nn.Module, place: str, tasks: int, order: int) -> None:
        super().__init__(nn.Identity(), place, tasks, order)
        self._source = [source]  # in a list, so that its parameters are not this module's
        self.start = {
            name: p.detach().clone().requires_grad_()
            for name, p in source.named_parameters(recurse=False)
        }

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the module does."""
        result: Tensor = functional_call(self._source[0], self.start, inputs)
        return result

    def probes(self) -> list[Tensor]:
        """The weights, in which tasks are added up."""
        return list(self.start.values())

    def pieces(self, grads: Sequence[Tensor]) -> dict[str, Piece]:
        """The sum over tasks, as a mean."""
        return {name: Averaged(g / self.tasks) for name, g in zip(self.start, grads, strict=True)}

    def moved(self) -> dict[str, Piece]:
        """Nowhere."""
        return {name: Averaged(torch.zeros_like(w)) for name, w in self.start.items()}

    def weights(self, task: int) -> dict[str, Tensor]:
        """Those of all tasks."""
        del task
        return {name: w.detach().clone() for name, w in self.start.items()}


def _wide(scale: Tensor, like: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (like.dim() - 1))


class StackedLinear(TaskLayer):
    """W_t x + b_t as one batched product."""

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, ..., in] to [T * n, ..., out]."""
        y = linear(x.reshape(self.tasks, -1, x.shape[-1]), self.weight())
        if "bias" in self.fast:
            y += self.fast["bias"].unsqueeze(1)  # in place: no derivative needs what it was
        return y.reshape(*x.shape[:-1], -1)


class LowRankLinear(TaskLayer):
    """The same for SGD, by history instead of by weights; the bias is stacked, for it is small."""

    unstacked = frozenset({"weight"})

    def __init__(self, source: nn.Linear, place: str, tasks: int, order: int, steps: int) -> None:
        super().__init__(source, place, tasks, order)
        self.shared = self.start["weight"]
        self.calls: list[tuple[Tensor, Tensor, int]] = []  # inputs, answer, version of the answer
        self.inputs, self.pulls = Rows(steps), Rows(steps)

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, ..., in] to [T * n, ..., out]."""
        flat = x.reshape(self.tasks, -1, x.shape[-1])
        y, flat = (a.to(self.shared.dtype) for a in (F.linear(flat, self.shared), flat))
        # In place: no derivative needs what the answer was before.
        if "bias" in self.fast:
            y += self.fast["bias"].unsqueeze(1)
        if self.inputs.all is not None and self.pulls.all is not None:
            with unrounded(y):
                close = torch.bmm(flat, self.inputs.all.transpose(1, 2))
                y.baddbmm_(close, self.pulls.all, alpha=-1)
        if torch.is_grad_enabled():
            if not y.requires_grad:
                y.requires_grad_()
            self.calls.append((flat if self.order == 2 else flat.detach(), y, y._version))
        return y.reshape(*x.shape[:-1], -1)

    def probes(self) -> list[Tensor]:
        """Its outputs so far, and the bias.

        Raises:
            RuntimeError: one was changed in place, so that its gradient is not that of the weights.
        """
        if any(y._version != version for _, y, version in self.calls):
            raise RuntimeError(f"what {self.place.rstrip('.')} answered was changed in place")
        return [y for _, y, _ in self.calls] + list(self.fast.values())

    def norms(self, grads: Sequence[Tensor]) -> Tensor:
        """Through Gram matrices: ||D^T A||^2 = sum of (A A^T) * (D D^T)."""
        rest = grads[len(self.calls) :]
        if not self.calls:
            return super().norms(rest) if rest else self.shared.new_zeros(self.tasks)
        inputs, outs = self._factors(grads)
        gram = torch.bmm(inputs, inputs.transpose(1, 2)) * torch.bmm(outs, outs.transpose(1, 2))
        return gram.sum((1, 2)) + (super().norms(rest) if rest else 0)

    def move(self, grads: Sequence[Tensor], rule: Rule, scale: Tensor | None) -> None:
        """Append this step's inputs and output gradients to the history."""
        super().move(grads[len(self.calls) :], rule, scale)
        keep = self.order == 2 or rule.learns
        for (inputs, *_), out in zip(self.calls, grads, strict=False):
            scaled = out if scale is None else out * _wide(scale, out)
            self.inputs.append(inputs, keep=keep)
            self.pulls.append(rule(self.place + "weight", scaled), keep=keep)

    def forget(self) -> None:
        """Drop the calls; the history stays."""
        self.calls = []

    def pieces(self, grads: Sequence[Tensor]) -> dict[str, Piece]:
        """The weight's as a product."""
        rest = super().pieces(grads[len(self.calls) :])
        if not self.calls:
            return {"weight": Averaged(torch.zeros_like(self.shared)), **rest}
        inputs, outs = self._factors(grads)
        return {"weight": Product(outs, inputs), **rest}

    def moved(self) -> dict[str, Piece]:
        """The weight's as a product."""
        if self.inputs.all is None or self.pulls.all is None:
            way: Piece = Averaged(torch.zeros_like(self.shared))
        else:
            way = Product(self.pulls.all.detach(), self.inputs.all.detach())
        return {"weight": way, **super().moved()}

    def weights(self, task: int) -> dict[str, Tensor]:
        """Built for this one task."""
        w = self.shared.detach().clone()
        if self.inputs.all is not None and self.pulls.all is not None:
            w -= self.pulls.all[task].detach().T @ self.inputs.all[task].detach()
        return {"weight": w, **super().weights(task)}

    def _factors(self, grads: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Inputs and output gradients of all calls, [T, r, in] and [T, r, out]."""
        inputs, outs = [a for a, *_ in self.calls], list(grads[: len(self.calls)])
        if len(outs) == 1:
            return inputs[0], outs[0]
        return torch.cat(inputs, 1), torch.cat(outs, 1)


class Rows:
    """Rows [T, r, width] that grow at the end."""

    def __init__(self, times: int) -> None:
        self.all: Tensor | None = None
        self._times = times  # how often as many rows as at first are expected
        self._room: Tensor | None = None

    def append(self, new: Tensor, *, keep: bool) -> None:
        """Add rows [T, s, width]; `keep` if a graph still needs those that are there."""
        if self.all is None or keep:
            self.all = new if self.all is None else torch.cat([self.all, new], 1)
            return
        used, end = self.all.shape[1], self.all.shape[1] + new.shape[1]
        if self._room is None or end > self._room.shape[1]:
            self._room = new.new_empty(len(new), max(end, self._times * used), new.shape[2])
            self._room[:, :used] = self.all
        self._room[:, used:end] = new
        self.all = self._room[:, :end]
