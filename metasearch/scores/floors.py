"""Closed-form models of pixels: the floors that whatever is learned must beat."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metasearch.models.base import rows
from metasearch.rng import Stream
from metasearch.scores.base import by_task
from metasearch.tasks.base import Batch, Episodes, TaskDistribution, TaskId, image_domains

STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
TASKS, TASKS_AT_ONCE = 512, 32  # train tasks that are looked at, and how many at a time


@dataclass(frozen=True, eq=False)
class PixelFloor:
    """Independent Bernoulli pixels with a Beta prior around the mean of train pixels.

    Light is counted as ``(x + 1) / 2`` in [0, 1]. Nats are those of a likelihood for binary images;
    for grey ones they are a cross-entropy, as in the families with Bernoulli pixels, so they
    compare with those and not with a density.
    """

    prior: Mapping[str, Tensor]  # domain -> [c, h, w] float64, between 0 and 1
    strength: float  # how many images the prior counts for; infinite: the support is not heard

    def light(self, support: Batch, tasks: int) -> dict[str, Tensor]:
        """The posterior mean of each task's pixels: domain -> [tasks, c, h, w] float64."""
        found = {}
        for domain, prior in self.prior.items():
            seen = by_task(_light(support[domain]), tasks)
            trust = seen.shape[1] / (seen.shape[1] + self.strength)
            heard = trust * (seen.mean(1) - prior) if trust else torch.zeros_like(prior)
            found[domain] = (prior + heard).expand(tasks, *prior.shape)
        return found

    def nll(self, episodes: Episodes) -> Tensor:
        """Nats per query image given the support, all pixels and domains added up; [tasks].

        It is also the reference that a task's loss is held against when tasks are compared.
        """
        n = len(episodes.tasks)
        nats = torch.zeros(n, dtype=torch.float64)
        for domain, p in self.light(episodes.support, n).items():
            x = by_task(_light(episodes.query[domain]), n).mean(1)
            nats -= (x * p.log() + (1 - x) * torch.log1p(-p)).flatten(1).sum(1)
        return nats

    def sample(self, episodes: Episodes, n: int, rng: Stream) -> Batch:
        """Draw `n` black-and-white images per task, [tasks * n, c, h, w] in {-1, 1}.

        What a task gets depends on `rng`, its name and its support only.
        """
        found = {}
        for domain, p in self.light(episodes.support, len(episodes.tasks)).items():
            drawn = [
                torch.rand(
                    n, *p.shape[1:], dtype=torch.float64, generator=rng.at(task, domain).torch()
                )
                for task in episodes.tasks
            ]
            lit = torch.stack(drawn) < p.unsqueeze(1)
            found[domain] = (2 * lit.flatten(0, 1) - 1).to(episodes.support[domain].dtype)
        return found


def pixel_marginal(source: TaskDistribution, *, shot: int, seed: int = 0) -> PixelFloor:
    """The mean of train pixels, whatever the task: the floor below all others.

    Raises:
        DataError: train tasks have fewer than `shot` images.
    """
    place = Stream(seed).at("floors")
    total, count = dict.fromkeys(image_domains(source.domains), torch.zeros(())), 0
    for episodes in _episodes(source, shot, 0, place):
        count += rows(episodes.support)
        for domain in total:
            total[domain] = total[domain] + _light(episodes.support[domain]).sum(0)
    # Half a lit and half a dark image more: a pixel that was never lit may be.
    prior = {domain: (x + 0.5) / (count + 1) for domain, x in total.items()}
    return PixelFloor(prior, math.inf)


def beta_bernoulli(source: TaskDistribution, *, shot: int, query: int, seed: int = 0) -> PixelFloor:
    """The mean of a task's support, shrunk to that of train pixels by what suits train tasks.

    Raises:
        DataError: train tasks have fewer than ``shot + query`` images.
    """
    place = Stream(seed).at("floors")
    prior = pixel_marginal(source, shot=shot, seed=seed).prior
    nats = torch.zeros(len(STRENGTHS), dtype=torch.float64)
    for episodes in _episodes(source, shot, query, place):
        nats += torch.stack([PixelFloor(prior, s).nll(episodes).sum() for s in STRENGTHS])
    return PixelFloor(prior, STRENGTHS[int(nats.argmin())])


def _episodes(source: TaskDistribution, shot: int, query: int, place: Stream) -> Iterator[Episodes]:
    """One episode of each of many train tasks, a few tasks at a time."""
    names = list(source.tasks("train"))
    order = place.at("tasks").numpy().permutation(len(names))[:TASKS]
    chosen = [names[i] for i in sorted(order)]
    for part in _parts(chosen):
        yield source.episodes(part, shot=shot, query=query, rng=place.at("episodes"))


def _parts(names: Sequence[TaskId]) -> Iterator[Sequence[TaskId]]:
    for at in range(0, len(names), TASKS_AT_ONCE):
        yield names[at : at + TASKS_AT_ONCE]


def _light(images: Tensor) -> Tensor:
    return ((images.double() + 1) / 2).clamp(0, 1)
