"""What takes no learning: pixels, kernels, copies. Whatever is learned must beat it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.models.base import cycled, rows
from metasearch.rng import Stream
from metasearch.scores.base import by_task
from metasearch.tasks.base import Batch, Episodes, TaskDistribution, TaskId, image_domains

STRENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
TASKS, TASKS_AT_ONCE = 512, 32  # train tasks that are looked at, and how many at a time

# What a kernel density is chosen from; on fewer tasks, as each takes longer.
KERNEL_TASKS = 64
SMEARS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
SHARES = (0.003, 0.01, 0.03, 0.1, 0.3, 0.9)
REACHES = (0, 1, 2, 3)

TURN, SLANT, GROWTH, SHIFT = 10.0, 0.15, 0.1, 0.05  # degrees, per height, share, share of the side


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


@dataclass(frozen=True, eq=False)
class KernelFloor:
    """A mixture of the support's images, each in all places near its own, and of `pixels`.

    A pixel is that of the image that was shifted or, with a chance of `smear`, drawn as `pixels`
    does, which is a part by itself too. Nats count as those of `PixelFloor`; for grey images they
    are a bound from above.

    Source: Aitchison & Aitken, "Multivariate binary discrimination by the kernel method", 1976,
    eq. 2. Differs: what is not copied is drawn from the task's pixels and not evenly; shifts.
    """

    pixels: PixelFloor
    smear: float  # between 0 and 1, without them
    share: float  # weight of `pixels` by themselves, likewise; the rest is shared evenly
    reach: int  # pixels that an image is shifted at most, each way

    def nll(self, episodes: Episodes) -> Tensor:
        """Nats per query image given the support, all pixels and domains added up; [tasks]."""
        n = len(episodes.tasks)
        nats = torch.zeros(n, dtype=torch.float64)
        for domain, p in self.pixels.light(episodes.support, n).items():
            seen, asked = (
                by_task(_light(b[domain]), n) for b in (episodes.support, episodes.query)
            )
            for t in range(n):
                alone, near = _by_part(seen[t], asked[t], p[t], self.smear, self.reach)
                nats[t] -= _mixed(alone, near, self.share).mean()
        return nats

    def sample(self, episodes: Episodes, n: int, rng: Stream) -> Batch:
        """Draw `n` black-and-white images per task, [tasks * n, c, h, w] in {-1, 1}.

        Images of the support have their turns. What a task gets depends on `rng`, its name and its
        support only.
        """
        tasks, places, found = len(episodes.tasks), _places(self.reach), {}
        copies = cycled(episodes.support, tasks, n)
        for domain, p in self.pixels.light(episodes.support, tasks).items():
            drawn = []
            for i, images in enumerate(by_task(_light(copies[domain]), tasks)):
                make = rng.at(episodes.tasks[i], domain).torch()
                where = torch.randint(len(places), (n,), generator=make).tolist()
                moved = torch.stack(
                    [_shifted(x, places[w]) for x, w in zip(images, where, strict=True)]
                )
                alone = torch.rand(n, 1, 1, 1, generator=make) < self.share
                chance = torch.where(
                    alone, p[i], torch.lerp(moved, p[i].expand_as(moved), self.smear)
                )
                drawn.append(torch.rand(chance.shape, dtype=torch.float64, generator=make) < chance)
            found[domain] = (2 * torch.cat(drawn) - 1).to(episodes.support[domain].dtype)
        return found


@dataclass(frozen=True)
class Copies:
    """Each task's support over and over, as it is or a little turned, slanted, scaled and shifted.

    They look better than they are: an exact copy is no new image, which the score `copying` tells.
    """

    jitter: bool

    def sample(self, episodes: Episodes, n: int, rng: Stream) -> Batch:
        """Return `n` images per task, [tasks * n, c, h, w] in [-1, 1], and what else rows carry.

        What a task gets depends on `rng`, its name and its support only.
        """
        copies = cycled(episodes.support, len(episodes.tasks), n)
        if not self.jitter:
            return copies
        pose = torch.cat([_poses(n, rng.at(task)) for task in episodes.tasks])
        moved = {d: _moved(copies[d], pose) for d in image_domains(copies)}
        return {**copies, **moved}


def _poses(n: int, rng: Stream) -> Tensor:
    """`n` small affine maps [n, 2, 3] from the picture back to what is copied."""
    u = 2 * torch.rand(n, 5, generator=rng.at("pose").torch()) - 1
    angle, slant, size = math.radians(TURN) * u[:, 0], SLANT * u[:, 1], 1 + GROWTH * u[:, 2]
    cos, sin = angle.cos() / size, angle.sin() / size
    shift = 2 * SHIFT * u[:, 3:]  # a picture reaches from -1 to 1
    linear = torch.stack([cos + slant * sin, sin - slant * cos, -sin, cos], 1).reshape(n, 2, 2)
    return torch.cat([linear, shift.unsqueeze(2)], 2)


def _moved(images: Tensor, pose: Tensor) -> Tensor:
    """Images under their poses, bilinear; black and white remains so."""
    grid = F.affine_grid(pose.to(images), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(-1, 1)
    hard = (images.abs() == 1).flatten(1).all(1).reshape(-1, 1, 1, 1)
    return torch.where(hard, torch.where(moved > 0, 1.0, -1.0).to(moved), moved)


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


def kernel_density(
    source: TaskDistribution, *, shot: int, query: int, seed: int = 0
) -> KernelFloor:
    """Kernels over the pixels of `beta_bernoulli`, set to what suits train tasks.

    Raises:
        DataError: train tasks have fewer than ``shot + query`` images.
    """
    pixels = beta_bernoulli(source, shot=shot, query=query, seed=seed)
    some = _episodes(source, shot, query, Stream(seed).at("floors"), most=KERNEL_TASKS)
    each = [
        torch.stack([_by_setting(pixels, smear, episodes) for smear in SMEARS]) for episodes in some
    ]
    settings = list(product(SMEARS, SHARES, REACHES))
    smear, share, reach = settings[int(torch.stack(each).sum(0).argmin())]
    return KernelFloor(pixels, smear, share, reach)


def _by_setting(pixels: PixelFloor, smear: float, episodes: Episodes) -> Tensor:
    """Nats of all tasks together, [shares, reaches]: every part is looked at once."""
    n = len(episodes.tasks)
    nats = torch.zeros(len(SHARES), len(REACHES), dtype=torch.float64)
    for domain, p in pixels.light(episodes.support, n).items():
        seen, asked = (by_task(_light(b[domain]), n) for b in (episodes.support, episodes.query))
        for t in range(n):
            alone, near = _by_part(seen[t], asked[t], p[t], smear, max(REACHES))
            for i, reach in enumerate(REACHES):  # a short reach is the beginning of a long one
                some = near[: len(seen[t]) * len(_places(reach))]
                nats[:, i] -= torch.stack([_mixed(alone, some, s).mean() for s in SHARES])
    return nats


def _by_part(
    support: Tensor, query: Tensor, mean: Tensor, smear: float, reach: int
) -> tuple[Tensor, Tensor]:
    """Log-chances of a task's query images by its pixels, [q], and by each copy, [parts, q]."""
    copies = torch.cat([_shifted(support, place) for place in _places(reach)])
    p = torch.cat([mean.unsqueeze(0), torch.lerp(copies, mean.expand_as(copies), smear)]).flatten(1)
    x = query.flatten(1)
    each = p.log() @ x.T + torch.log1p(-p) @ (1 - x).T
    return each[0], each[1:]


def _mixed(alone: Tensor, near: Tensor, share: float) -> Tensor:
    copied = near.logsumexp(0) - math.log(len(near))
    return torch.logaddexp(math.log(share) + alone, math.log1p(-share) + copied)


def _places(reach: int) -> list[tuple[int, int]]:
    """Pixels down and right, the nearest places first."""
    span = range(-reach, reach + 1)
    return sorted(product(span, span), key=lambda place: max(map(abs, place)))


def _shifted(light: Tensor, place: tuple[int, int]) -> Tensor:
    """Images [..., h, w] with dark behind them."""
    down, right = place
    return F.pad(light, (right, -right, down, -down))


def _episodes(
    source: TaskDistribution, shot: int, query: int, place: Stream, most: int = TASKS
) -> Iterator[Episodes]:
    """One episode of each of many train tasks, a few tasks at a time."""
    names = list(source.tasks("train"))
    order = place.at("tasks").numpy().permutation(len(names))[:most]
    chosen = [names[i] for i in sorted(order)]
    for part in _parts(chosen):
        yield source.episodes(part, shot=shot, query=query, rng=place.at("episodes"))


def _parts(names: Sequence[TaskId]) -> Iterator[Sequence[TaskId]]:
    for at in range(0, len(names), TASKS_AT_ONCE):
        yield names[at : at + TASKS_AT_ONCE]


def _light(images: Tensor) -> Tensor:
    return ((images.double() + 1) / 2).clamp(0, 1)
