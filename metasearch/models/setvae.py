"""The VAE that hears a set: prior, posterior and decoder are told of other images of the class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from metasearch.models.base import Net, Nets, Noise, rows
from metasearch.models.conditions import each_set_once
from metasearch.models.gaussian import (
    Gaussian,
    draw_codes,
    importance_bound,
    pixel_means,
    pixel_nats,
    warmed,
)
from metasearch.models.nets import NETS, Conv, Mlp
from metasearch.registry import OneOf, Table, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@component
class Average:
    """Every image that is heard counts alike, and so does one that was learned.

    Source: the averaging model of Bartunov & Vetrov, "Few-shot Generative Modelling with Generative
    Matching Networks", 2018, section 4.2; near the statistic of Edwards & Storkey, "Towards a
    Neural Statistician", 2017, section 3, without a latent variable of the whole set.
    """

    name: Literal["average"] = "average"

    @property
    def nets(self) -> tuple[str, ...]:
        """Nobody asks anything."""
        return ()

    def build(self, features: int, latent: int) -> Mapping[str, nn.Module]:  # noqa: ARG002
        """No net."""
        return {}

    def answers(self, ask: Net | None, of: Tensor, memory: Tensor) -> Tensor:  # noqa: ARG002
        """The same for all, before it is known who is heard; [rows, 1, k]."""
        return memory.new_zeros(memory.shape[0], 1, memory.shape[1])


@component
class Matching:
    """Whoever is told asks, and what answers best counts most.

    Source: Bartunov & Vetrov, "Few-shot Generative Modelling with Generative Matching Networks",
    2018, eq. 5 and 6, with one learned image always there (their pseudo-input). Differs: one
    image is asked for by a product of vectors; no recurrent controller of several hops.
    """

    name: Literal["matching"] = "matching"

    @property
    def nets(self) -> tuple[str, ...]:
        """Three that ask."""
        return ("ask_prior", "ask_posterior", "ask_decoder")

    def build(self, features: int, latent: int) -> Mapping[str, nn.Module]:
        """What the prior, the posterior and the decoder ask, from nothing, an image, a code."""
        return {
            "ask_prior": nn.Linear(1, features, bias=False),
            "ask_posterior": nn.Linear(features, features),
            "ask_decoder": nn.Linear(latent, features),
        }

    def answers(self, ask: Net | None, of: Tensor, memory: Tensor) -> Tensor:
        """How well each of `memory` [rows, k, d] answers `ask(of)`; [rows, m, k].

        `of` is [rows * m, ...]: m questions a row.
        """
        assert ask is not None, "matching has nets that ask"
        questions = ask(of).reshape(memory.shape[0], -1, memory.shape[2])
        return questions @ memory.mT / memory.shape[2] ** 0.5


READINGS = Table("reading", {"average": Average, "matching": Matching})


@component
class SetVAE:
    """Amortised meta-learning: the images of the support go in, no gradient step is needed.

    Of a row x given a set S: prior p(z|S), posterior q(z|x, S), decoder p(x|z, S); the loss is the
    negative bound -log p(x|z, S) + beta KL(q||p). In training each row hears a random number of the
    images it is given, the first few of them, so that sets of all sizes are learned, none included.

    Source: Bartunov & Vetrov, "Few-shot Generative Modelling with Generative Matching Networks",
    2018; see `reading` for who is heard. Differs: nets as of the other families here; one code.
    """

    name: Literal["setvae"] = "setvae"
    latent: int = 32
    net: Annotated[Conv | Mlp, OneOf(NETS)] = Conv()
    features: int = 128  # numbers that an image is remembered by
    reading: Annotated[Average | Matching, OneOf(READINGS)] = Average()
    beta: float = 1.0  # weight of the KL term in training; likelihoods are always at 1
    warmup: float = 0.0  # share of the budget over which `beta` grows to that from 0
    all_heard: bool = False  # in training, too, instead of a random number

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        at_least(self, latent=1, features=1, beta=0, warmup=0)

    @property
    def domains(self) -> tuple[str, ...]:
        """An image, and others of its class; during a warm-up, how far training is."""
        return ("x", "given", "progress") if self.warmup else ("x", "given")

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """All nets descend one loss together."""
        told = ("encoder", "learned", "prior", "posterior", "decoder")
        return {"setvae": (*told, *self.reading.nets)}

    @property
    def turns(self) -> tuple[str, ...]:
        """One move an inner step."""
        return ("setvae",)

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """One encoder for all images; small nets to means and log-variances; a decoder to logits.

        Raises:
            ConfigError: the net cannot handle the shape.
        """
        d, wide = self.features, 2 * self.latent
        return {
            "encoder": self.net.encoder(shape, d),
            "learned": nn.Linear(1, d, bias=False),
            "prior": nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, wide)),
            "posterior": nn.Sequential(nn.Linear(2 * d, d), nn.SiLU(), nn.Linear(d, wide)),
            "decoder": self.net.decoder(self.latent + d, shape),
            **self.reading.build(d, self.latent),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:
        """`eps` [rows, samples, latent], `z` [rows, latent], and `size` [rows], uniform."""
        codes = draw_codes(like, rng, self.latent, samples)
        make = rng.at("size").torch(like["x"].device)
        return {**codes, "size": torch.rand(rows(like), generator=make, device=like["x"].device)}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """The negative bound of each image given its set, in nats, the KL term times `beta`."""
        heard = batch["heard"] if self.all_heard else _first(batch["heard"], noise["size"])
        told = Told.of(self.reading, nets, batch, heard)
        posterior = told.posterior(nets["encoder"](batch["x"]))
        logits = told.decode(posterior.at(noise["eps"][:, 0]))
        beta = self.beta * warmed(batch, self.warmup)
        return pixel_nats(logits, batch["x"]) + beta * posterior.kl(told.prior())

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:
        """Pixel means of draws from the prior of each row's set."""
        told = Told.of(self.reading, nets, given, given["heard"])
        return {"x": pixel_means(told.decode(told.prior().at(noise["z"])))}

    def log_likelihood(self, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The importance-weighted bound of each image given its set, in nats."""
        told = Told.of(self.reading, nets, batch, batch["heard"])
        posterior = told.posterior(nets["encoder"](batch["x"]))
        return importance_bound(told.decode, batch["x"], noise["eps"], posterior, told.prior())

    def encode(self, nets: Nets, batch: Batch) -> Tensor:
        """What an image is remembered by, whatever it is given, [rows, features]."""
        return nets["encoder"](batch["x"])

    def reconstruct(self, nets: Nets, batch: Batch) -> Batch:
        """Pixel means of what the posterior means, given each row's set, are decoded to."""
        told = Told.of(self.reading, nets, batch, batch["heard"])
        posterior = told.posterior(nets["encoder"](batch["x"]))
        return {"x": pixel_means(told.decode(posterior.mean))}


@dataclass(frozen=True)
class Told:
    """What rows remember of the images they hear, and what their nets make of it."""

    reading: Average | Matching
    nets: Nets
    memory: Tensor  # [rows, 1 + k, features]: a learned image, then those that are given
    heard: Tensor  # bool [rows, 1 + k]

    @staticmethod
    def of(reading: Average | Matching, nets: Nets, batch: Batch, heard: Tensor) -> Told:
        """Remember what `batch` gives; whatever is not heard is left out, be it finite or not."""
        given = each_set_once(nets["encoder"], batch).masked_fill(~heard.unsqueeze(2), 0)
        learned = nets["learned"](given.new_ones(given.shape[0], 1))
        memory = torch.cat([learned.unsqueeze(1), given], 1)
        return Told(reading, nets, memory, torch.cat([heard.new_ones(heard.shape[0], 1), heard], 1))

    def prior(self) -> Gaussian:
        """p(z|S) of each row."""
        nothing = self.memory.new_ones(self.memory.shape[0], 1)
        return Gaussian.of(self.nets["prior"](self._read("ask_prior", nothing)))

    def posterior(self, seen: Tensor) -> Gaussian:
        """q(z|x, S) of each row, from what the encoder makes of x, [rows, features]."""
        read = self._read("ask_posterior", seen)
        return Gaussian.of(self.nets["posterior"](torch.cat([seen, read], 1)))

    def decode(self, z: Tensor) -> Tensor:
        """Pixel logits of codes [rows * m, latent], m for each row."""
        return self.nets["decoder"](torch.cat([z, self._read("ask_decoder", z)], 1))

    def _read(self, ask: str, of: Tensor) -> Tensor:
        """What is heard of the memory, weighed, [rows * m, features]; `of` is [rows * m, ...]."""
        answers = self.reading.answers(self.nets.get(ask), of, self.memory)
        share = answers.masked_fill(~self.heard.unsqueeze(1), -torch.inf).softmax(2)
        read = share @ self.memory  # [rows, m or 1, features]
        return read.expand(-1, of.shape[0] // read.shape[0], -1).flatten(0, 1)


def _first(heard: Tensor, share: Tensor) -> Tensor:
    """Those heard among the first few: as many as `share` [rows] in [0, 1) of 0, 1, ..., all."""
    size = (share * (heard.sum(1) + 1)).floor()
    return heard & (heard.cumsum(1) <= size.unsqueeze(1))
