"""A fresh critic that tells generated from real images: what `jsd` and `c2st` ask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.scores.base import Score, Subject, check_enough

LEAST = 4  # images on a side: a critic learns from one half of one half, and is judged on the rest
NEWTON_STEPS = 30  # far more than convergence takes
TRUST = 10.0  # the largest factor of a critic's logits
PHASE = 37.0  # turns per unit of features: many within a class, few within rounding errors


@dataclass(frozen=True)
class Discrimination:
    """What a critic achieved on images it was not trained on, real and generated counting alike."""

    cross_entropy: Tensor  # [tasks], nats; ln 2 at chance
    accuracy: Tensor  # [tasks]; 1/2 at chance: the classifier two-sample test


def discriminate(score: Score, subject: Subject, ridge: float) -> Discrimination:
    """Train a critic on one half of every task's images, judge the other, and the other way round.

    A critic is told where an image lies relative to the support, so it knows the task, and copies
    of the support are told too. How far it may trust itself, a factor of its logits, is found
    within the half it learns from: one that learned from chance says nothing. It is shared by the
    tasks of a `Subject`, so values depend on which tasks are judged together; a task that diverged
    is as good as not there.

    Raises:
        DataError: fewer than ``score.least`` images on a side.
    """
    check_enough(score, subject)
    finite = subject.sample_features.isfinite().all(2).all(1).cpu()
    nats = torch.full((subject.tasks,), torch.nan, dtype=torch.float64)
    accuracy = nats.clone()
    if finite.any():
        support = subject.support_features[finite].double()
        real, fake = (
            _in_halves(side[finite].double(), support)
            for side in (subject.query_features, subject.sample_features)
        )
        first, second = (_judge(real, fake, half, ridge) for half in (0, 1))
        nats[finite] = ((first[0] + second[0]) / 2).cpu()
        accuracy[finite] = ((first[1] + second[1]) / 2).cpu()
    return Discrimination(nats, accuracy)


def _judge(real: Tensor, fake: Tensor, half: int, ridge: float) -> tuple[Tensor, Tensor]:
    """Train on one half of the images and judge the other: two vectors [tasks]."""
    learn = real[:, half::2], fake[:, half::2]
    critic = Critic.fit(*learn, ridge)
    trust = best_factor(*_unseen_logits(*learn, ridge))
    other = 1 - half
    return cross_entropy(trust * critic(real[:, other::2]), trust * critic(fake[:, other::2]))


def _unseen_logits(real: Tensor, fake: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The logits of all images by critics that were trained on the others' half."""
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for half in (0, 1):
        critic = Critic.fit(real[:, half::2], fake[:, half::2], ridge)
        for side, logits in zip((real, fake), found, strict=True):
            logits.append(critic(side[:, 1 - half :: 2]).flatten())
    return torch.cat(found[0]), torch.cat(found[1])


@dataclass(frozen=True)
class Critic:
    """A logistic regression: covariates [..., p] to the logit of being real."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor  # [p + 1], the last the constant

    @staticmethod
    def fit(real: Tensor, fake: Tensor, ridge: float) -> Critic:
        """Minimise the balanced cross-entropy plus ``ridge / 2`` times the squared weights.

        Covariates are [..., p]; a real and a fake image need not be as many.
        """
        real, fake = real.flatten(0, -2), fake.flatten(0, -2)
        x = torch.cat([real, fake])
        label = torch.cat([x.new_ones(len(real)), x.new_zeros(len(fake))])
        share = torch.where(label == 1, 0.5 / len(real), 0.5 / len(fake)).double()
        mean = share @ x
        deviation = (share @ (x - mean) ** 2).sqrt().clamp_min(1e-6)
        start = Critic(mean, deviation, x.new_zeros(x.shape[1] + 1))
        penalty = x.new_full((x.shape[1] + 1,), ridge)
        penalty[-1] = 1e-9  # the constant is free, up to what keeps the equations regular
        return Critic(mean, deviation, _newton(start._design(x), label, share, penalty))

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [...] of covariates [..., p]."""
        return self._design(x) @ self.weights

    def _design(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.deviation
        return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], -1)


def _newton(x: Tensor, label: Tensor, share: Tensor, penalty: Tensor) -> Tensor:
    """Minimise a strictly convex loss by Newton's method, halving steps that do not descend."""

    def loss(weights: Tensor) -> Tensor:
        logits = x @ weights
        return share @ (F.softplus(logits) - label * logits) + penalty @ weights**2 / 2

    weights = penalty.new_zeros(len(penalty))
    now = loss(weights)
    for _ in range(NEWTON_STEPS):
        p = torch.sigmoid(x @ weights)
        slope = x.T @ (share * (p - label)) + penalty * weights
        curvature = (x.T * (share * p * (1 - p))) @ x + torch.diag(penalty)
        move = torch.linalg.solve(curvature, slope)
        size = 1.0
        while size > 1e-6 and not loss(weights - size * move) < now:
            size /= 2
        if size <= 1e-6:
            break
        weights = weights - size * move
        now = loss(weights)
    return weights


def cross_entropy(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Balanced cross-entropy in nats, and accuracy, of logits [tasks, n] and [tasks, m]."""
    nats = (F.softplus(-real).mean(1) + F.softplus(fake).mean(1)) / 2
    # A logit of zero is undecided, and half right.
    right = (_step(real).mean(1) + _step(-fake).mean(1)) / 2
    return nats, right


def _step(x: Tensor) -> Tensor:
    return (x.sign() + 1) / 2


def best_factor(real: Tensor, fake: Tensor) -> float:
    """The factor in [0, `TRUST`] of logits that makes their cross-entropy least."""

    def slope(factor: float) -> float:
        gain = (torch.sigmoid(-factor * real) * real).mean()
        return float((torch.sigmoid(factor * fake) * fake).mean() - gain)

    low, high = 0.0, TRUST
    if slope(low) >= 0:
        return low
    if slope(high) <= 0:
        return high
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return low


def _in_halves(features: Tensor, support: Tensor) -> Tensor:
    """Covariates of each task's images [tasks, n, p], so ordered that every second is one half.

    The half follows from the image, not from its place in the list, by what is as good as a draw:
    the fraction of a number far larger than 1. Sorting by a plain number would make the halves
    more alike than chance does.
    """
    order = (features.sum(2) * PHASE).remainder(1).argsort(dim=1, stable=True)
    x = covariates(features, support)
    return x.gather(1, order.unsqueeze(2).expand_as(x))


def covariates(features: Tensor, support: Tensor) -> Tensor:
    """What a critic sees of each image, [tasks, n, d + 2].

    Its place relative to the mean of the support, its distance from there, and its distance from
    the nearest support image.
    """
    offset = features - support.mean(1, keepdim=True)
    near = (features.unsqueeze(2) - support.unsqueeze(1)).norm(dim=3).amin(2, keepdim=True)
    return torch.cat([offset, offset.norm(dim=2, keepdim=True), near], 2)
