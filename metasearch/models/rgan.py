"""The recurrent generative adversarial network: a generator that draws in steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

import torch
from torch import Tensor, nn

from metasearch.models.adversarial import LOSSES, NonSaturating, Objective, SeedLiteral
from metasearch.models.base import Net, Nets, Noise, rows
from metasearch.models.discrepancy import energy
from metasearch.models.nets import NETS, Conv, Mlp, Squeeze
from metasearch.models.recurrent import (
    CanvasWriter,
    RowReader,
    RowWriter,
    StrokeReader,
    StrokeWindows,
    StrokeWriter,
    seen,
)
from metasearch.registry import OneOf, Table, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape
from metasearch.tasks.pen import render


class Drawing(Protocol):
    """What is drawn in steps: the key of a batch, and who writes and who reads it."""

    @property
    def key(self) -> str:
        """Of what the critic compares: "x" or "t"."""
        ...

    def writer(self, family: RGAN, shape: Shape) -> nn.Module:
        """From latents to what is drawn."""
        ...

    def reader(self, family: RGAN, shape: Shape) -> nn.Module:
        """From what is drawn, or its pictures, to logits [n]."""
        ...

    def judged(self, net: Net, like: Batch) -> Net:
        """The reader as it is called with what is drawn."""
        ...

    def apart(self, drawn: Tensor, real: Tensor) -> Tensor:
        """The energy of several drawings [n, k, ...] and a real one of each row, [n]."""
        ...


@component
class Rows:
    """The image row by row, from the top."""

    name: Literal["rows"] = "rows"
    critic: Literal["net", "rows"] = "net"  # `net` sees the whole; a recurrent cell reads its rows

    @property
    def key(self) -> str:
        """Images."""
        return "x"

    def writer(self, family: RGAN, shape: Shape) -> nn.Module:
        """Latents [n, latent] to images."""
        return RowWriter(family.latent, family.hidden, shape)

    def reader(self, family: RGAN, shape: Shape) -> nn.Module:
        """Images to logits."""
        return RowReader(family.hidden, shape) if self.critic == "rows" else family.sees(shape)

    def judged(self, net: Net, like: Batch) -> Net:  # noqa: ARG002
        """As it is."""
        return net

    def apart(self, drawn: Tensor, real: Tensor) -> Tensor:
        """By pixels."""
        return energy(drawn, real)


@component
class Canvas:
    """The image as a sum of pictures that lie over each other: x = tanh(sum of C_t).

    Source: Im, Kim, Jiang & Memisevic, "Generating images with recurrent adversarial networks",
    2016, eq. 6-8. Differs: the state is told the latent vector again and not the canvas so far.
    """

    name: Literal["canvas"] = "canvas"
    steps: int = 4

    def __post_init__(self) -> None:
        """Refuse an empty sum."""
        at_least(self, steps=1)

    @property
    def key(self) -> str:
        """Images."""
        return "x"

    def writer(self, family: RGAN, shape: Shape) -> nn.Module:
        """Latents [n, latent] to images."""
        decoder = family.net.decoder(family.hidden, shape)
        return CanvasWriter(family.latent, family.hidden, self.steps, decoder)

    def reader(self, family: RGAN, shape: Shape) -> nn.Module:
        """Images to logits."""
        return family.sees(shape)

    def judged(self, net: Net, like: Batch) -> Net:  # noqa: ARG002
        """As it is."""
        return net

    def apart(self, drawn: Tensor, real: Tensor) -> Tensor:
        """By pixels."""
        return energy(drawn, real)


@component
class Pen:
    """The steps of a pen, as the source `strokes` brings them; images are drawn from them."""

    name: Literal["strokes"] = "strokes"
    critic: Literal["cell", "windows", "net"] = "cell"  # reads steps, windows of steps, or pictures

    @property
    def key(self) -> str:
        """Steps."""
        return "t"

    def writer(self, family: RGAN, shape: Shape) -> nn.Module:  # noqa: ARG002
        """Latents [n, length, latent] to steps."""
        return StrokeWriter(family.latent, family.hidden)

    def reader(self, family: RGAN, shape: Shape) -> nn.Module:
        """Steps, or pictures for `net`, to logits."""
        if self.critic == "net":
            return family.sees(shape)
        return (StrokeReader if self.critic == "cell" else StrokeWindows)(family.hidden)

    def judged(self, net: Net, like: Batch) -> Net:
        """On the pictures that steps make, for `net`."""
        if self.critic != "net":
            return net
        size = like["x"].shape[-1]
        return lambda steps: net(render(steps, size))

    def apart(self, drawn: Tensor, real: Tensor) -> Tensor:
        """By the whole drawing, by where the pen is at each step, and by how it goes there.

        By wholes alone, drawings that are too large make up for those that are too much alike.
        """
        n, k, length, _ = drawn.shape
        many, one = seen(drawn.flatten(0, 1)).reshape(n, k, length, -1), seen(real)
        steps, step = many.transpose(1, 2).flatten(0, 1), one.flatten(0, 1)  # [n * length, (k,) _]
        each = energy(steps[..., :2], step[..., :2]) + energy(steps[..., 2:], step[..., 2:])
        return energy(many, one) + each.reshape(n, length).mean(1)


DRAWINGS = Table("drawing", {"rows": Rows, "canvas": Canvas, "strokes": Pen})


@component
class RGAN:
    """A recurrent generator that draws rows, layers of a picture, or pen strokes, and a critic.

    Source: Goodfellow et al., 2014, for the game; for recurrent generators Mogren, "C-RNN-GAN",
    2016, section 3, and Im et al., 2016 (`canvas`). Differs: gated cells (GRU), and one latent
    vector that every step is told, with how far the drawing is.
    """

    name: Literal["rgan"] = "rgan"
    latent: int = 32
    hidden: int = 128  # of the recurrent cells
    draws: Annotated[Rows | Canvas | Pen, OneOf(DRAWINGS)] = Rows()
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()  # of critics that see images, and of `canvas`
    objective: Annotated[Objective, OneOf(LOSSES)] = NonSaturating()
    energy: float = 0.0  # weight, for the generator, of the energy distance to real drawings
    drawings: int = 2  # of each real one, whose energy it is: more are slower and surer
    critic_steps: int = 1  # discriminator moves in an inner step
    generator_steps: int = 1  # generator moves in an inner step

    def __post_init__(self) -> None:
        """Refuse what cannot be built or played."""
        at_least(self, latent=1, hidden=1, energy=0, drawings=2, critic_steps=1, generator_steps=1)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of one kind; strokes beside them where those are drawn."""
        return ("x",) if self.draws.key == "x" else ("x", "t")

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Two players with a net each."""
        return {"discriminator": ("discriminator",), "generator": ("generator",)}

    @property
    def turns(self) -> tuple[str, ...]:
        """The discriminator first, so that the generator meets an informed one."""
        return ("discriminator",) * self.critic_steps + ("generator",) * self.generator_steps

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """The generator draws; the discriminator gives one logit for each drawing.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        return {
            "discriminator": self.draws.reader(self, shape),
            "generator": self.draws.writer(self, shape),
        }

    def sees(self, shape: Shape) -> nn.Module:
        """A critic of whole images [n, c, h, w].

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        return nn.Sequential(self.net.encoder(shape, 1), Squeeze())

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """`z` [rows, latent], the penalty's `mix` [rows, 1, 1, 1], and `one`: a `z` for all."""
        x, n = like["x"], rows(like)
        make = rng.torch(x.device)
        z = torch.randn(n, self.latent, generator=make, device=x.device, dtype=x.dtype)
        mix = torch.rand(n, 1, 1, 1, generator=make, device=x.device, dtype=x.dtype)
        found = {"z": z, "mix": mix, "one": z[:1].expand_as(z)}
        if self.energy:
            size = (n, self.drawings - 1, self.latent)
            found["again"] = torch.randn(size, generator=make, device=x.device, dtype=x.dtype)
        return found

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The discriminator's or the generator's loss of each drawing."""
        z = noise["one" if isinstance(self.objective, SeedLiteral) else "z"]
        critic = self.draws.judged(nets["discriminator"], batch)
        real = batch[self.draws.key]
        if player == "generator":
            if not self.energy:
                return self.objective.generator(critic(self._drawn(nets, batch, z)))
            every = torch.cat([z.unsqueeze(1), noise["again"]], 1)  # in one call
            drawn = self._drawn(nets, batch, every.flatten(0, 1))
            drawn = drawn.reshape(len(z), self.drawings, *drawn.shape[1:])
            apart = self.draws.apart(drawn, real)
            return self.objective.generator(critic(drawn[:, 0])) + self.energy * apart
        fake = self._drawn(nets, batch, z)
        mix = noise["mix"].reshape(-1, *[1] * (real.dim() - 1))
        return self.objective.critic(critic, real, fake, mix)

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Images; and where strokes are drawn those as well, "t", as long as the given ones."""
        drawn = self._drawn(nets, given, noise["z"])
        if self.draws.key == "x":
            return {"x": drawn}
        return {"x": render(drawn, given["x"].shape[-1]), "t": drawn}

    def _drawn(self, nets: Nets, like: Batch, z: Tensor) -> Tensor:
        if self.draws.key == "t":
            z = z.unsqueeze(1).expand(-1, like["t"].shape[1], -1)
        return nets["generator"](z)
