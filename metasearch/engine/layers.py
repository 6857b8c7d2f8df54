"""Layers that know that rows belong to tasks; all else in a model stays as it is.

Shapes: T tasks, flat inputs [T * n, ...] with tasks outermost. A stacked layer keeps the weights
of every task, [T, ...]. A low-rank layer never builds them: after SGD steps

    W_t = W_0 - sum_k c_k D_k^T A_k        A_k inputs, D_k gradients at the outputs, of step k

so one large product with the shared W_0 and a thin correction give its output, exactly, and the
mean of W_0 - W_t over tasks is one product as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.engine.convolution import Geometry, fold, unfold
from metasearch.engine.rules import Rule


class TaskLayer(nn.Module):
    """A layer with weights of its own for each task, stacked as [T, ...]."""

    def __init__(self, source: nn.Module, tasks: int, order: int) -> None:
        super().__init__()
        self.tasks = tasks
        self.order = order
        self.start = {name: p.detach() for name, p in source.named_parameters(recurse=False)}
        if order == 2:
            # One leaf shared by all tasks: the meta-gradient flows back into it as their sum.
            self.start = {name: p.clone().requires_grad_() for name, p in self.start.items()}
        self.fast = {name: self._stack(p) for name, p in self.start.items()}

    def _stack(self, p: Tensor) -> Tensor:
        wide = p.unsqueeze(0).expand(self.tasks, *p.shape)
        # A copy even for one task: a view would let inner steps move the meta-parameters.
        return (
            wide
            if self.order == 2
            else wide.clone(memory_format=torch.contiguous_format).requires_grad_()
        )

    def probes(self) -> list[Tensor]:
        """What an inner step differentiates the loss in."""
        return list(self.fast.values())

    def norms(self, grads: Sequence[Tensor]) -> Tensor:
        """Squared norm of the weights' gradient in each task, [T]."""
        return torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0)

    def move(self, grads: Sequence[Tensor], rule: Rule, scale: Tensor | None) -> None:
        """One inner step along the gradients of the probes, times `scale` [T]."""
        for (name, w), g in zip(list(self.fast.items()), grads, strict=True):
            scaled = g if scale is None else g * _wide(scale, g)
            change = rule(f"{id(self)}.{name}", scaled)
            if self.order == 2:
                self.fast[name] = w - change
            else:
                with torch.no_grad():
                    w.sub_(change)

    def forget(self) -> None:
        """Drop what was recorded of earlier calls."""

    def gradients(self, grads: Sequence[Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """Parameter -> factors whose product per task is its gradient; here the gradient itself."""
        return {name: (g,) for name, g in zip(self.fast, grads, strict=True)}

    def moved(self) -> dict[str, tuple[Tensor, ...]]:
        """Parameter -> factors of W_0 - W_t."""
        return {name: (self.start[name] - w.detach(),) for name, w in self.fast.items()}

    def weights(self, task: int) -> dict[str, Tensor]:
        """The fast weights of one task."""
        return {name: w[task].detach().clone() for name, w in self.fast.items()}

    def by_task(self, x: Tensor) -> Tensor:
        """[T * n, ...] to [T, n, ...]."""
        return x.reshape(self.tasks, -1, *x.shape[1:])


def _wide(scale: Tensor, like: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (like.dim() - 1))


class StackedLinear(TaskLayer):
    """x W_t^T + b_t as one batched product."""

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, ..., in] to [T * n, ..., out]."""
        flat = x.reshape(self.tasks, -1, x.shape[-1])
        w = self.fast["weight"].transpose(1, 2)
        bias = self.fast.get("bias")
        y = torch.bmm(flat, w) if bias is None else torch.baddbmm(bias.unsqueeze(1), flat, w)
        return y.reshape(*x.shape[:-1], -1)


class LowRankLinear(TaskLayer):
    """The same for SGD, by history instead of by weights; the bias is stacked, for it is small."""

    def __init__(self, source: nn.Linear, tasks: int, order: int, rank: int) -> None:
        super().__init__(source, tasks, order)
        self.shared = self.start["weight"]
        self.fast = {name: w for name, w in self.fast.items() if name != "weight"}
        self.calls: list[tuple[Tensor, Tensor]] = []
        self.history: tuple[Tensor, Tensor] | None = None  # inputs [T, r, in], pulls [T, r, out]
        self._room = rank if order == 1 else 0  # rows to set aside at once

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, ..., in] to [T * n, ..., out]."""
        y = F.linear(x, self.shared).reshape(self.tasks, -1, self.shared.shape[0])
        flat = x.reshape(self.tasks, -1, x.shape[-1])
        if "bias" in self.fast:
            y = y + self.fast["bias"].unsqueeze(1)
        if self.history is not None:
            inputs, pulls = self.history
            y = torch.baddbmm(y, torch.bmm(flat, inputs.transpose(1, 2)), pulls, alpha=-1)
        if torch.is_grad_enabled():
            if not y.requires_grad:
                y.requires_grad_()
            self.calls.append((flat if self.order == 2 else flat.detach(), y))
        return y.reshape(*x.shape[:-1], -1)

    def probes(self) -> list[Tensor]:
        """Its outputs so far, and the bias."""
        return [y for _, y in self.calls] + list(self.fast.values())

    def norms(self, grads: Sequence[Tensor]) -> Tensor:
        """Through Gram matrices: ||D^T A||^2 = sum of (A A^T) * (D D^T)."""
        inputs, outs = self._factors(grads)
        gram = torch.bmm(inputs, inputs.transpose(1, 2)) * torch.bmm(outs, outs.transpose(1, 2))
        rest = grads[len(self.calls) :]
        return gram.sum((1, 2)) + (super().norms(rest) if rest else 0)

    def move(self, grads: Sequence[Tensor], rule: Rule, scale: Tensor | None) -> None:
        """Append this step's inputs and output gradients to the history."""
        inputs, outs = self._factors(grads)
        pulls = rule("", outs if scale is None else outs * _wide(scale, outs))
        self.history = self._append(inputs, pulls)
        super().move(grads[len(self.calls) :], rule, scale)

    def forget(self) -> None:
        """Drop the calls; the history stays."""
        self.calls = []

    def gradients(self, grads: Sequence[Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """The weight's as (D, A)."""
        inputs, outs = self._factors(grads)
        return {"weight": (outs, inputs), **super().gradients(grads[len(self.calls) :])}

    def moved(self) -> dict[str, tuple[Tensor, ...]]:
        """The weight's as (pulls, inputs)."""
        if self.history is None:
            nothing = self.shared.new_zeros(self.tasks, 1, 1)
            pair = (
                nothing.expand(-1, 1, self.shared.shape[0]),
                nothing.expand(-1, 1, self.shared.shape[1]),
            )
        else:
            pair = (self.history[1].detach(), self.history[0].detach())
        return {"weight": pair, **super().moved()}

    def weights(self, task: int) -> dict[str, Tensor]:
        """Built for this one task."""
        w = self.shared.detach().clone()
        if self.history is not None:
            inputs, pulls = (h[task].detach() for h in self.history)
            w -= pulls.T @ inputs
        return {"weight": w, **super().weights(task)}

    def _factors(self, grads: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        inputs = torch.cat([a for a, _ in self.calls], 1)
        return inputs, torch.cat(list(grads[: len(self.calls)]), 1)

    def _append(self, inputs: Tensor, pulls: Tensor) -> tuple[Tensor, Tensor]:
        old = self.history
        return tuple(  # type: ignore[return-value]
            new if old is None else torch.cat([old[i], new], 1)
            for i, new in enumerate((inputs, pulls))
        )


class GroupedConv(TaskLayer):
    """A convolution, or a transposed one, of all tasks as one with T groups."""

    def __init__(self, source: nn.Conv2d | nn.ConvTranspose2d, tasks: int, order: int) -> None:
        super().__init__(source, tasks, order)
        self.conv: Callable[..., Tensor] = (
            F.conv_transpose2d if isinstance(source, nn.ConvTranspose2d) else F.conv2d
        )
        self.stride, self.padding = source.stride, source.padding

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        n, size = x.shape[0] // self.tasks, x.shape[2:]
        wide = self.by_task(x).transpose(0, 1).reshape(n, -1, *size)
        y = self.wide(wide)
        y = y.reshape(n, self.tasks, -1, *y.shape[2:]).transpose(0, 1)
        return y.reshape(x.shape[0], *y.shape[2:])

    def wide(self, x: Tensor) -> Tensor:
        """The same on [n, T * in, h, w], the layout in which neighbours can be chained."""
        bias = self.fast.get("bias")
        return self.conv(
            x,
            self.fast["weight"].flatten(0, 1),
            None if bias is None else bias.flatten(),
            stride=self.stride,
            padding=self.padding,
            groups=self.tasks,
        )


class ColumnConv(TaskLayer):
    """A convolution of few channels: unfold once, then one batched product."""

    def __init__(self, source: nn.Conv2d, tasks: int, order: int) -> None:
        super().__init__(source, tasks, order)
        self.geometry = geometry(source)

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        kernel, stride, pad = self.geometry
        h, w = ((side + 2 * pad - kernel) // stride + 1 for side in x.shape[2:])
        columns = unfold(x.permute(0, 2, 3, 1), self.geometry)
        flat = columns.reshape(self.tasks, -1, columns.shape[-1])
        weight = self.fast["weight"].permute(0, 3, 4, 2, 1).flatten(1, 3)  # [T, k k in, out]
        bias = self.fast.get("bias")
        y = (
            torch.bmm(flat, weight)
            if bias is None
            else torch.baddbmm(bias.unsqueeze(1), flat, weight)
        )
        return y.reshape(x.shape[0], h, w, -1).permute(0, 3, 1, 2)


class ColumnConvTranspose(TaskLayer):
    """A transposed convolution of few channels: one batched product, then fold."""

    def __init__(self, source: nn.ConvTranspose2d, tasks: int, order: int) -> None:
        super().__init__(source, tasks, order)
        self.geometry = geometry(source)

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, in, h, w] to [T * n, out, h', w']."""
        kernel, stride, pad = self.geometry
        count, channels, h, w = x.shape
        size = ((h - 1) * stride - 2 * pad + kernel, (w - 1) * stride - 2 * pad + kernel)
        weight = self.fast["weight"].permute(0, 1, 3, 4, 2).flatten(2)  # [T, in, k k out]
        columns = torch.bmm(x.permute(0, 2, 3, 1).reshape(self.tasks, -1, channels), weight)
        y = fold(columns.reshape(count, h * w, -1), size, self.geometry)
        if "bias" in self.fast:
            y = self.by_task(y) + self.fast["bias"][:, None, None, None]
            y = y.flatten(0, 1)
        return y.permute(0, 3, 1, 2)


class TaskGroupNorm(TaskLayer):
    """Group normalisation with a scale and a shift of its own for each task."""

    def __init__(self, source: nn.GroupNorm, tasks: int, order: int) -> None:
        super().__init__(source, tasks, order)
        self.groups, self.eps = source.num_groups, source.eps

    def forward(self, x: Tensor) -> Tensor:
        """[T * n, c, ...], each image by itself."""
        y = F.group_norm(x, self.groups, eps=self.eps)
        if not self.fast:
            return y
        shape = (self.tasks, 1, -1, *[1] * (x.dim() - 2))
        y = self.by_task(y) * self.fast["weight"].reshape(shape)
        return (y + self.fast["bias"].reshape(shape)).reshape(x.shape)


def geometry(source: nn.Conv2d | nn.ConvTranspose2d) -> Geometry:
    """Kernel side, stride and padding of a square convolution."""
    padding = source.padding
    assert not isinstance(padding, str)
    return source.kernel_size[0], source.stride[0], padding[0]
