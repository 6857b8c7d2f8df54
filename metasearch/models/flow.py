"""Flow matching: a field of velocities that carries noise to images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from metasearch.errors import ConfigError
from metasearch.models.base import Nets, Noise, rows
from metasearch.models.nets import LAYERS, Attention, Doubling, Mlp, Norm, doubled, normalise
from metasearch.registry import OneOf, Table, at_least, at_most, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape

TIMES = 16  # sines, and as many cosines, that tell the time
GOLDEN = (math.sqrt(5) - 1) / 2


@component
class UNet:
    """Residual blocks at a half and a quarter of the side, joined by a skip.

    The full side is left to one strided convolution in and one out: a field is asked dozens of
    times for a sample, and most of its cost would be there. The time scales and shifts channels.
    With ``upsample: nearest`` the one out is not strided, and costs more.
    """

    name: Literal["unet"] = "unet"
    width: int = 24  # channels at half the side; twice as many at a quarter
    depth: int = 2  # blocks at a quarter of the side; at a half there is one on each way
    norm: Norm = "group"
    attention: bool = False  # between the places at a quarter of the side
    upsample: Doubling = "transposed"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, width=1, depth=0)
        at_most(self, depth=LAYERS)

    def velocity(self, shape: Shape) -> nn.Module:
        """Images [n, c, h, w] and times [n, 2 TIMES] to velocities [n, c, h, w].

        Raises:
            ConfigError: the sides cannot be halved twice.
        """
        if shape[1] % 4 or shape[2] % 4:
            raise ConfigError(
                f"net 'unet' halves an image twice; {shape[1]}x{shape[2]} does not come out even. "
                "Use a size that 4 divides, such as 16, 20, 28 or 32, or the net 'mlp'."
            )
        return Halves(shape[0], self)


class Halves(nn.Module):
    """The U-Net of two levels."""

    def __init__(self, channels: int, plan: UNet) -> None:
        super().__init__()
        width, wide, norm = plan.width, 2 * plan.width, plan.norm
        self.enter = nn.Conv2d(channels, width, 4, 2, 1)
        self.fine = Residual(width, norm)
        self.down = nn.Conv2d(width, wide, 4, 2, 1)
        self.coarse = nn.ModuleList(Residual(wide, norm) for _ in range(plan.depth))
        self.look = Attention(wide) if plan.attention else nn.Identity()
        up = doubled(plan.upsample, wide, width)
        self.up = nn.Sequential(*up) if len(up) > 1 else up[0]  # one goes by the name alone
        self.finish = Residual(width, norm)
        leave = doubled(plan.upsample, width, channels)
        self.leave = nn.Sequential(normalise(norm, width), nn.SiLU(), *leave)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Down, along, up, and the skip."""
        fine = self.fine(self.enter(x), time)
        y = self.down(fine)
        for block in self.coarse:
            y = block(y, time)
        out: Tensor = self.leave(self.finish(fine + self.up(self.look(y)), time))
        return out


class Residual(nn.Module):
    """Two convolutions beside the identity, the second behind a scale and shift by the time."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.first = nn.Sequential(
            normalise(norm, width), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1)
        )
        self.norm = normalise(norm, width)
        self.time = nn.Sequential(
            nn.Linear(2 * TIMES, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width)
        )
        self.second = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[n, width, h, w], times [n, 2 TIMES]."""
        scale, shift = self.time(time)[:, :, None, None].chunk(2, 1)
        y = self.norm(self.first(x)) * (1 + scale) + shift
        out: Tensor = x + self.second(F.silu(y))
        return out


@component
class Dense:
    """Fully connected layers that see the image and the time side by side."""

    name: Literal["mlp"] = "mlp"
    hidden: int = 512
    depth: int = 2  # hidden layers

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, hidden=1, depth=1)
        at_most(self, depth=LAYERS)

    def velocity(self, shape: Shape) -> nn.Module:
        """Images [n, c, h, w] and times [n, 2 TIMES] to velocities [n, c, h, w]."""
        pixels = shape[0] * shape[1] * shape[2]
        layers = Mlp(hidden=self.hidden, depth=self.depth)
        return Beside(layers.decoder(pixels + 2 * TIMES, shape))


class Beside(nn.Module):
    """A net on vectors that takes an image and the time as one."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Join and pass on."""
        out: Tensor = self.layers(torch.cat([x.flatten(1), time], 1))
        return out


FIELDS = Table("velocity net", {"unet": UNet, "mlp": Dense})


@component
class FlowMatching:
    """Straight paths from noise to images: the net learns their velocity, a sample follows it.

    Times of a batch are spread evenly, also among the few images of one task, so that two losses
    of one task differ by little more than what was learned between them.

    Source: Liu et al., "Flow Straight and Fast", 2023, eq. 1; Lipman et al., "Flow Matching for
    Generative Modeling", 2023, eq. 23 with sigma_min = 0. Differs: times follow a golden-ratio
    sequence from a random start instead of being independent.
    """

    name: Literal["flow_matching"] = "flow_matching"
    net: Annotated[UNet | Dense, OneOf(FIELDS)] = UNet()
    steps: int = 20  # of the solver, for a sample
    solver: Literal["euler", "heun"] = "euler"  # heun asks the net twice a step

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        at_least(self, steps=1)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind."""
        return ("x",)

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """One net, one loss."""
        return {"velocity": ("velocity",)}

    @property
    def turns(self) -> tuple[str, ...]:
        """One move an inner step."""
        return ("velocity",)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """The field of velocities.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        return {"velocity": self.net.velocity(shape)}

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`start` [rows, c, h, w], where paths begin, and `time` [rows] in [0, 1)."""
        x, n = like["x"], rows(like)
        make = rng.torch(x.device)
        start = torch.randn(x.shape, generator=make, device=x.device, dtype=x.dtype)
        first = torch.rand(1, generator=make, device=x.device, dtype=x.dtype)
        turns = torch.arange(n, device=x.device, dtype=x.dtype)
        # Any rows in succession, such as those of a task, are spread almost evenly.
        return {"start": start, "time": (first + GOLDEN * turns) % 1}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """Squared error of the velocity at one time, summed over pixels."""
        x, start, t = batch["x"], noise["start"], noise["time"]
        share = t.reshape(-1, 1, 1, 1)
        v = nets["velocity"]((1 - share) * start + share * x, clock(t))
        return (v - (x - start)).square().flatten(1).sum(1)

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """Follow the field from noise to time 1, and cut to [-1, 1]."""
        x, step = noise["start"], 1 / self.steps

        def velocity(x: Tensor, at: int) -> Tensor:
            return nets["velocity"](x, clock(x.new_full((x.shape[0],), at * step)))

        for k in range(self.steps):
            v = velocity(x, k)
            if self.solver == "heun":
                v = (v + velocity(x + step * v, k + 1)) / 2
            x = x + step * v
        return {"x": x.clamp(-1, 1)}


def clock(time: Tensor) -> Tensor:
    """Times [n] in [0, 1] as sines and cosines of half a turn to some fifty, [n, 2 TIMES]."""
    rates = torch.exp(torch.linspace(0, math.log(100), TIMES, device=time.device, dtype=time.dtype))
    angles = math.pi * time.unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
