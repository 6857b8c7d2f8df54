"""Negative log-likelihood of the query images: the score of families that know probabilities."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metasearch.errors import ConfigError
from metasearch.models.base import LikelihoodModel, Noise
from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject, by_task, finite_or_nan
from metasearch.tasks.base import Batch

ROWS = 512  # latents decoded at once: what is between layers stays in a cache; changes no number


@component
class NLL:
    """-log p of a query image, in nats, averaged over the query; an upper bound of it.

    `iwae` takes all `samples` into one bound, which tightens as they grow; `elbo` averages as many
    bounds of one sample each. Exact families give the exact value either way.

    Source: Burda et al., "Importance Weighted Autoencoders", 2016, eq. 8; at one sample, and in
    `elbo`, Kingma & Welling, 2014, eq. 3.
    """

    name: Literal["nll"] = "nll"
    samples: int = 16  # latents per image
    bound: Literal["iwae", "elbo"] = "iwae"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "nats"  # per image, all pixels added up
    proper: ClassVar[bool] = True
    looks_at: ClassVar[Sight] = "model"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    asks: ClassVar[Ability] = "likelihood"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, got {self.samples}")

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks] nats per image.

        Raises:
            ConfigError: the family has no likelihood.
        """
        family = subject.adapted.learner.family
        if not isinstance(family, LikelihoodModel):
            raise ConfigError(
                f"score 'nll': {family.name!r} has no likelihood. Use a family that has one, or a "
                "score of samples such as 'mmd'."
            )
        images, noise = self._prepare(subject)
        n, nets = subject.tasks, subject.adapted.nets
        step = max(1, ROWS // (n * (self.samples if self.bound == "iwae" else 1)))
        per_task = next(iter(images.values())).shape[0] // n
        with torch.no_grad():
            nats = [
                by_task(
                    family.log_likelihood(
                        nets, _rows(images, n, at, step), _rows(noise, n, at, step)
                    ),
                    n,
                )
                for at in range(0, per_task, step)
            ]
        return finite_or_nan(-torch.cat(nats, 1).double().mean(1))

    def _prepare(self, subject: Subject) -> tuple[Batch, Noise]:
        query = subject.episodes.query
        if self.bound == "iwae":
            return query, subject.noise(query, "likelihood", samples=self.samples)
        wide = {d: x.repeat_interleave(self.samples, 0) for d, x in query.items()}
        return wide, subject.noise(wide, "likelihood")


def _rows(batch: Batch, tasks: int, at: int, step: int) -> Batch:
    """Some rows of every task: [tasks * n, ...] to [tasks * step, ...]."""
    return {k: by_task(x, tasks)[:, at : at + step].flatten(0, 1) for k, x in batch.items()}
