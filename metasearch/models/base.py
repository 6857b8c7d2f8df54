"""What a generative model is: a game of players on ordinary modules that see flat batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from metasearch.errors import ConfigError
from metasearch.models.code import Code
from metasearch.models.trainable import complain_of
from metasearch.rng import Stream, global_torch_draws_from
from metasearch.tasks.base import Batch, Shape

Net = Callable[..., Tensor]
Nets = Mapping[str, Net]
Noise = Mapping[str, Tensor]
"""Every random number a loss or a sample needs: name -> [rows, ...], one row per image."""
Params = dict[str, Tensor]
"""Parameters by full name, ``"<net>.<parameter>"``."""


_PARTS = {"film": (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d), "code": (Code,)}


def _has_weights(layer: nn.Module) -> bool:
    return any(True for _ in layer.parameters(recurse=False))


class GenerativeModel(Protocol):
    """A family with its settings. Holds no tensor: the weights are in the nets it is handed.

    Nets are called on flat batches ``[tasks * n, ...]``; whoever writes a family never thinks of
    tasks. A loss or a sample of one row must depend on that row alone (no BatchNorm): rows of
    different tasks are beside each other.
    """

    @property
    def name(self) -> str:
        """What a search file calls it."""
        ...

    @property
    def domains(self) -> tuple[str, ...]:
        """The keys of a batch that it asks for, an image first: see `Batch` for what there is.

        A source must offer all but those of `DERIVED`, which are made of any episode.
        """
        ...

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Player -> the nets it owns. Each player descends its own loss in those nets only."""
        ...

    @property
    def turns(self) -> tuple[str, ...]:
        """The players in the order they move within one inner step; one may move twice."""
        ...

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Fresh nets for images of this shape.

        Raises:
            ConfigError: the shape does not suit the architecture.
        """
        ...

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """The noise for as many images as `like` has rows; `samples` latents each for a bound."""
        ...

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The player's loss of each image, [tasks * n], in nats or the units its docstring says."""
        ...

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Images in [-1, 1], one per row of `noise` and of `given`.

        A row of `given` is the support image (with its label, if any) that an image is drawn for:
        each task's support, cycled (see `cycled`). A family that is asked for no class (label -1)
        and picks one returns it as "y".
        """
        ...


@runtime_checkable
class LikelihoodModel(GenerativeModel, Protocol):
    """A family that can say how probable an image is."""

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """Return log p of each image in nats, or a bound that tightens with `samples`; [rows]."""
        ...


@runtime_checkable
class EncoderModel(GenerativeModel, Protocol):
    """A family that can say in few numbers what an image is."""

    def encode(self, nets: Nets, batch: Batch) -> Tensor:
        """The code of each image, [rows, d]: of the image alone, whatever else its row is told."""
        ...

    def reconstruct(self, nets: Nets, batch: Batch) -> Batch:
        """The images that codes are decoded to, in [-1, 1], without noise."""
        ...


@runtime_checkable
class TranslatorModel(GenerativeModel, Protocol):
    """A family that makes of an image of one domain one of another."""

    def translate(self, nets: Nets, batch: Batch) -> Batch:
        """Each row's image in the other domain, in [-1, 1]: "b" is what became of "a", and back.

        The direction that `generate` draws comes first.
        """
        ...


@dataclass(frozen=True)
class Learner:
    """A family and its nets, which hold the meta-parameters."""

    family: GenerativeModel
    shape: Shape
    nets: Mapping[str, nn.Module]

    @staticmethod
    def create(family: GenerativeModel, shape: Shape, rng: Stream) -> Learner:
        """Build and initialise; the weights are a function of `rng`.

        Raises:
            ConfigError: the shape does not suit the architecture, or its nets have parameters that
                cannot be meta-trained: frozen, not built yet, or shared by two nets.
        """
        with global_torch_draws_from(rng):
            made = Learner(family, shape, dict(family.build(shape)))
        complain_of(made.parameters(), family.name)
        return made

    def parameters(self) -> Params:
        """The meta-parameters themselves (not copies), by full name."""
        return {
            f"{net}.{name}": p
            for net, module in self.nets.items()
            for name, p in module.named_parameters()
        }

    def owner(self, parameter: str) -> str:
        """The player that owns a parameter, by its full name."""
        net = parameter.split(".", 1)[0]
        return next(player for player, nets in self.family.players.items() if net in nets)

    def adapting(self, part: str) -> frozenset[str]:
        """The parameters that move in an inner loop that adapts only `part`.

        "all"; the name of one net; "head", the last layer of each net (where none is called so);
        "film", the scales and shifts of normalisation; or "code", the numbers that decoders hear.

        Raises:
            ConfigError: the family has no such part.
        """
        found: set[str] = set()
        for net, module in self.nets.items():
            own = [
                m
                for m in module.named_modules()
                if any(True for _ in m[1].parameters(recurse=False))
            ]
            if part in self.nets or part == "all":
                own = own if part in {"all", net} else []
            elif part == "head":
                own = own[-1:]
            else:
                own = [m for m in own if isinstance(m[1], _PARTS.get(part, ()))]
            for path, layer in own:
                place = f"{net}.{path}." if path else f"{net}."
                found |= {place + name for name, _ in layer.named_parameters(recurse=False)}
        if not found:
            raise ConfigError(
                f"{self.family.name!r} has no part {part!r} to adapt; allowed are all, head, film "
                "(with a norm in its nets), code (where a net has `code`), and its nets "
                f"{', '.join(self.nets)}."
            )
        return frozenset(found)

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Overwrite the meta-parameters; names must match exactly."""
        mine = self.parameters()
        if set(mine) != set(values):
            odd = sorted(set(mine) ^ set(values))[:3]
            raise ValueError(f"parameter names do not match, for example {odd}")
        with torch.no_grad():
            for name, p in mine.items():
                p.copy_(values[name])


class NoiseSource(Protocol):
    """Where an algorithm or a score gets its noise; equal purposes give equal noise."""

    def __call__(self, like: Batch, *purpose: str | int, samples: int = 1) -> Noise:
        """The noise for every row of `like`."""
        ...


def shared_noise(family: GenerativeModel, rng: Stream) -> NoiseSource:
    """Noise drawn for all rows at once: cheap, for training."""

    def draw(like: Batch, *purpose: str | int, samples: int = 1) -> Noise:
        return family.draw(like, rng.at(*purpose), samples=samples)

    return draw


def noise_per_task(family: GenerativeModel, rng: Stream, tasks: Sequence[str]) -> NoiseSource:
    """Noise drawn task by task: a task's draws depend on its name, not on its company.

    For judging: every trial, in any order and any chunk, meets the same noise on the same task.
    """

    def draw(like: Batch, *purpose: str | int, samples: int = 1) -> Noise:
        n = rows(like) // len(tasks)
        parts = [
            family.draw(
                {d: x[i * n : (i + 1) * n] for d, x in like.items()},
                rng.at(task, *purpose),
                samples=samples,
            )
            for i, task in enumerate(tasks)
        ]
        return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}

    return draw


def noise_of_some(noise: NoiseSource, tasks: int, keep: Sequence[int]) -> NoiseSource:
    """The noise that the tasks at these positions get when all of them draw together."""

    def draw(like: Batch, *purpose: str | int, samples: int = 1) -> Noise:
        n = rows(like) // len(keep)
        whole = noise(repeat_rows(like, n * tasks), *purpose, samples=samples)
        index = list(keep)
        return {
            key: x.reshape(tasks, n, *x.shape[1:])[index].flatten(0, 1) for key, x in whole.items()
        }

    return draw


def rows(batch: Batch) -> int:
    """How many images a batch has (its domains have equally many)."""
    return next(iter(batch.values())).shape[0]


def cycled(batch: Batch, tasks: int, n: int) -> Batch:
    """Each task's rows in turn, over and over, until it has `n`: [tasks * n, ...]."""
    turn = torch.arange(n) % (rows(batch) // tasks)
    return {d: x.reshape(tasks, -1, *x.shape[1:])[:, turn].flatten(0, 1) for d, x in batch.items()}


def example(
    domains: Sequence[str],
    shape: Shape,
    n: int,
    rng: Stream,
    *,
    dtype: torch.dtype = torch.float32,
    given: int = 3,
) -> Batch:
    """`n` random rows of every kind that `domains` names, to try a family with.

    Two rows beside each other are given the same `given` images, if `domains` asks for any, and
    each hears some of them.
    """
    make = rng.torch()
    sizes = {"t": (32, 3), "given": (given, *shape), "progress": ()}
    found = {
        d: torch.arange(n) % 2
        if d == "y"
        else torch.rand(n, *sizes.get(d, shape), generator=make, dtype=dtype) * 2 - 1
        for d in domains
    }
    if "progress" in found:
        found["progress"] = found["progress"].abs()
    if "given" in found:
        found["set"] = torch.arange(n) // 2
        found["given"] = found["given"][2 * found["set"]]
        found["heard"] = torch.rand(n, given, generator=make) < 0.7
    return found


def repeat_rows(batch: Batch, n: int) -> Batch:
    """A batch of `n` rows like `batch`, its values unimportant: a template for `draw`."""
    return {d: x[:1].expand(n, *x.shape[1:]) for d, x in batch.items()}
