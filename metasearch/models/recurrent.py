"""Nets that write and read in steps: recurrent generators, and critics of sequences."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.tasks.base import Shape
from metasearch.tasks.pen import from_positions, positions

CLOCK = 8  # numbers that tell a step how far the sequence is
SEEN = 5  # numbers that a critic of strokes sees of a step
_FASTER = 8.0  # steps are shorter than the way from the middle by about so much


class Recurrence(nn.Module):
    """A gated recurrent cell that is told, at each step, an input and how far it is.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, appendix
    A.1; the clock as in Vaswani et al., 2017, section 3.5. Differs: the clock runs with the share
    of the steps that are done, so that one net serves sequences of any length.
    """

    def __init__(self, given: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(given + CLOCK, hidden)

    def forward(self, inputs: Tensor, start: Tensor | None = None) -> Tensor:
        """Inputs [n, steps, given] to states [n, steps, hidden]; `start` is the state before."""
        n, steps, _ = inputs.shape
        told = torch.cat([inputs, _clock(inputs).expand(n, -1, -1)], -1)
        state, states = start, []
        for step in range(steps):
            state = self.cell(told[:, step], state)
            states.append(state)
        return torch.stack(states, 1)


def _clock(like: Tensor) -> Tensor:
    """Sine and cosine of one to eight half turns over the sequence, [1, steps, CLOCK]."""
    steps = like.shape[1]
    done = (torch.arange(steps, device=like.device, dtype=like.dtype) + 0.5) / steps
    angles = math.pi * done[:, None] * 2.0 ** torch.arange(CLOCK // 2, device=like.device)
    return torch.cat([angles.sin(), angles.cos()], -1).unsqueeze(0)


class Writer(nn.Module):
    """From a latent vector to states, one after another; a layer makes the first from it."""

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(latent, hidden)
        self.steps = Recurrence(latent, hidden)

    def forward(self, z: Tensor) -> Tensor:
        """One latent for each step [n, steps, latent] to states [n, steps, hidden]."""
        states: Tensor = self.steps(z, torch.tanh(self.first(z[:, 0])))
        return states


class RowWriter(nn.Module):
    """Draws images row by row."""

    def __init__(self, latent: int, hidden: int, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.writer = Writer(latent, hidden)
        self.row = nn.Linear(hidden, shape[0] * shape[2])

    def forward(self, z: Tensor) -> Tensor:
        """Latents [n, latent] to images [n, c, h, w] in [-1, 1]."""
        channels, height, width = self.shape
        states = self.writer(z.unsqueeze(1).expand(-1, height, -1))
        pixels = self.row(states).reshape(-1, height, channels, width)
        return torch.tanh(pixels.transpose(1, 2))


class CanvasWriter(nn.Module):
    """Draws images as a sum of pictures, each made from the next state."""

    def __init__(self, latent: int, hidden: int, steps: int, decoder: nn.Module) -> None:
        super().__init__()
        self.count = steps
        self.writer = Writer(latent, hidden)
        self.decoder = decoder

    def forward(self, z: Tensor) -> Tensor:
        """Latents [n, latent] to images [n, c, h, w] in [-1, 1]."""
        states = self.writer(z.unsqueeze(1).expand(-1, self.count, -1))
        parts = self.decoder(states.flatten(0, 1))
        return torch.tanh(parts.reshape(z.shape[0], self.count, *parts.shape[1:]).sum(1))


class StrokeWriter(nn.Module):
    """Draws with a pen: where it is after each step, and whether it touched the paper.

    The pen is up or down, as in the data, and not in between: a critic would tell drawings by their
    grey lines. Its slope is that of the soft pen, straight through.

    Source: Bengio, Leonard & Courville, "Estimating or Propagating Gradients Through Stochastic
    Neurons", 2013, section 4 (straight-through).
    """

    def __init__(self, latent: int, hidden: int) -> None:
        super().__init__()
        self.writer = Writer(latent, hidden)
        self.pen = nn.Linear(hidden, 3)

    def forward(self, z: Tensor) -> Tensor:
        """One latent for each step [n, length, latent] to steps [n, length, 3]; see `tasks.pen`."""
        found = torch.tanh(self.pen(self.writer(z)))  # of the paper, the pen sees the frame only
        soft = found[..., 2]
        down = torch.where(soft < 0, -1.0, 1.0).to(soft) + (soft - soft.detach())
        return from_positions(found[..., :2], down)


class RowReader(nn.Module):
    """A logit from the rows of an image, read from the top."""

    def __init__(self, hidden: int, shape: Shape) -> None:
        super().__init__()
        self.steps = Recurrence(shape[0] * shape[2], hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images [n, c, h, w] to logits [n]."""
        states = self.steps(images.transpose(1, 2).flatten(2))
        return self.out(states.mean(1)).squeeze(-1)


class StrokeReader(nn.Module):
    """A logit from the steps of a pen, read one after another."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.steps = Recurrence(SEEN, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, steps: Tensor) -> Tensor:
        """Steps [n, length, 3] to logits [n]."""
        return self.out(self.steps(seen(steps)).mean(1)).squeeze(-1)


class StrokeWindows(nn.Module):
    """A logit from the steps of a pen through windows over time: convolutions that halve it.

    Each is a linear layer on the steps of a window, which is what a convolution over time is.
    """

    def __init__(self, hidden: int, layers: int = 3) -> None:
        super().__init__()
        widths = [SEEN + CLOCK] + [hidden] * layers
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(_WINDOW * a, b), nn.LayerNorm(b), nn.SiLU())
            for a, b in pairwise(widths)
        )
        self.out = nn.Linear(hidden, 1)

    def forward(self, steps: Tensor) -> Tensor:
        """Steps [n, length, 3] to logits [n]."""
        x = seen(steps)
        x = torch.cat([x, _clock(x).expand(x.shape[0], -1, -1)], -1)
        for layer in self.layers:
            padded = F.pad(x, (0, 0, 1, 2 + x.shape[1] % 2))
            x = layer(padded.unfold(1, _WINDOW, 2).flatten(2))
        return self.out(x.mean(1)).squeeze(-1)


_WINDOW = 4


def seen(steps: Tensor) -> Tensor:
    """What a critic sees of steps [n, length, 3]: place, direction and pen, [n, length, SEEN]."""
    return torch.cat([positions(steps), _FASTER * steps[..., :2], steps[..., 2:]], -1)
