"""The canonical few-shot likelihood protocol: nats of an image after t others of its class."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from metasearch.algorithms.mixture import AnyAdapter
from metasearch.engine.base import Engine
from metasearch.errors import ConfigError, DataError
from metasearch.interval import mean_interval
from metasearch.models.base import LikelihoodModel, noise_per_task
from metasearch.models.conditions import conditioned
from metasearch.registry import at_least
from metasearch.rng import Stream
from metasearch.scores.floors import kernel_density, pixel_marginal
from metasearch.tasks.base import DERIVED, Episodes, Split, TaskDistribution
from metasearch.trial.judge import settle
from metasearch.trial.report import FLOOR, KERNEL, MARGINAL

Sampler = Literal["with_replacement", "without_replacement"]
SAMPLERS: tuple[Sampler, ...] = ("with_replacement", "without_replacement")

CHUNK = 16  # episodes at once
ROWS = 2048  # latents decoded at once: bounds memory, changes no number


@dataclass(frozen=True)
class Protocol:
    """Episodes of one class each: their images one after another, each given those before it.

    Source: Bartunov & Vetrov, "Few-shot Generative Modelling with Generative Matching Networks",
    2018, section 4. Their code draws images of an episode with replacement, so after t = 9 images
    the next is among them with a chance of 37 %; both ways are told.
    """

    episodes: int = 1000
    length: int = 10  # images of an episode: t runs from 0 to one less
    importance: int = 1000  # samples of each bound
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a judgement of nothing."""
        at_least(self, episodes=1, length=1, importance=1)


@dataclass(frozen=True)
class Sequences:
    """What is judged: the images of the episodes, in order."""

    classes: tuple[str, ...]  # of each episode
    images: Tensor  # [episodes, length, c, h, w]

    @staticmethod
    def draw(
        data: TaskDistribution, split: Split, protocol: Protocol, sampler: Sampler
    ) -> Sequences:
        """The classes are the same whichever the sampler.

        Raises:
            DataError: a class has too few images to draw them without replacement.
        """
        rng = Stream(protocol.seed).at("gmn", split)
        names = list(data.tasks(split))
        picked = [
            names[i] for i in rng.at("classes").numpy().integers(len(names), size=protocol.episodes)
        ]
        stored = {name: data.images(name)["x"] for name in sorted(set(picked))}
        repeats = sampler == "with_replacement"
        drawn = []
        for i, name in enumerate(picked):
            pictures = stored[name]
            if not repeats and len(pictures) < protocol.length:
                raise DataError(
                    f"{name!r} has {len(pictures)} images; an episode takes {protocol.length} "
                    "different ones. Use a source whose classes have as many."
                )
            chosen = rng.at(sampler, i).numpy().choice(len(pictures), protocol.length, repeats)
            drawn.append(pictures[torch.from_numpy(chosen)])
        return Sequences(tuple(picked), torch.stack(drawn))

    def chunks(self, t: int) -> Iterator[Episodes]:
        """A few episodes at a time, cut into `t` images of support and the next as query."""
        for start in range(0, len(self.images), CHUNK):
            images = self.images[start : start + CHUNK]
            names = tuple(f"gmn/{start + i:05d}" for i in range(len(images)))
            cut = (images[:, :t], images[:, t : t + 1], images[:, :0])
            yield Episodes(names, *({"x": part.flatten(0, 1)} for part in cut))


def few_shot_likelihood(
    adapter: AnyAdapter, engine: Engine, data: TaskDistribution, split: Split, protocol: Protocol
) -> dict[str, Any]:
    """Nats per image at each t, both samplers, beside floors of pixels; as plain data.

    Raises:
        ConfigError: the family has no likelihood, or is of other things than images.
        DataError: a class has too few images.
    """
    family = adapter.learner.family
    if not isinstance(family, LikelihoodModel) or set(family.domains) - {"x", *DERIVED}:
        raise ConfigError(
            f"protocol 'gmn' counts nats of images, and {family.name!r} cannot say how probable "
            "a single image is. Use a family with a likelihood, such as 'vae'."
        )

    def nats(episodes: Episodes, t: int) -> Tensor:
        return _nats(adapter if t else adapter.still(), engine, episodes, protocol)

    return curves(nats, data, split, protocol)


def floors(data: TaskDistribution, split: Split, protocol: Protocol) -> dict[str, dict[str, Any]]:
    """The same of closed-form models: Beta-Bernoulli pixels, kernels, the mean of train pixels.

    Raises:
        DataError: a class has too few images.
    """
    marginal, length = pixel_marginal(data, shot=1), protocol.length
    kernels = {t: kernel_density(data, shot=t, query=length - t) for t in range(1, length)}

    def of_kernels(episodes: Episodes, t: int) -> Tensor:
        return (kernels[t] if t else marginal).nll(episodes)

    def of_pixels(episodes: Episodes, t: int) -> Tensor:
        return (kernels[t].pixels if t else marginal).nll(episodes)

    return {
        FLOOR: curves(of_pixels, data, split, protocol),
        KERNEL: curves(of_kernels, data, split, protocol),
        MARGINAL: curves(lambda e, _: marginal.nll(e), data, split, protocol),
    }


def curves(
    nats: Callable[[Episodes, int], Tensor],
    data: TaskDistribution,
    split: Split,
    protocol: Protocol,
) -> dict[str, Any]:
    """Sampler -> the mean over episodes at each t with its interval; `nats` is of each episode.

    Raises:
        DataError: a class has too few images.
    """
    # All are drawn first: a class with too few images is told before hours of judging.
    drawn = {sampler: Sequences.draw(data, split, protocol, sampler) for sampler in SAMPLERS}
    return {
        sampler: [
            _summary([nats(part, t) for part in sequences.chunks(t)])
            for t in range(protocol.length)
        ]
        for sampler, sequences in drawn.items()
    }


def _nats(adapter: AnyAdapter, engine: Engine, plain: Episodes, protocol: Protocol) -> Tensor:
    """-log p of each episode's query image given its support, [episodes] float64."""
    family, tasks = adapter.learner.family, len(plain.tasks)
    assert isinstance(family, LikelihoodModel)
    noise = noise_per_task(family, Stream(protocol.seed).at("gmn", "noise"), plain.tasks)
    adapted = adapter.adapt(engine, plain.support, tasks, noise)
    query = conditioned(family, plain).query
    step = max(1, ROWS // tasks)
    parts = []
    with torch.no_grad():
        for at in range(0, protocol.importance, step):
            count = min(step, protocol.importance - at)
            drawn = noise(query, "importance", at, samples=count)
            bound = family.log_likelihood(adapted.nets, query, drawn).double()
            parts.append(bound + math.log(count / protocol.importance))
    return -torch.stack(parts).logsumexp(0)


def _summary(parts: Sequence[Tensor]) -> Mapping[str, float]:
    values = torch.cat(list(parts)).cpu().numpy()
    mean, low, high = mean_interval(settle(values, worst_is_high=True))
    return {"mean": mean, "low": low, "high": high, "diverged": int(np.sum(~np.isfinite(values)))}
