"""What a rule that chooses among tasks may know of them before it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from metasearch.scores.base import Features
from metasearch.selectors.base import Arms, Selector
from metasearch.tasks.base import TaskDistribution, TaskId

PIXELS = 8  # side of the pictures that stand for a task where there are no features
AT_ONCE = 64  # tasks


def task_arms(
    rule: Selector, data: TaskDistribution, names: Sequence[TaskId], features: Features | None
) -> Arms:
    """The train tasks with their groups and, if the rule asks for it, what they look like."""
    owners = [name.rsplit("/", 1)[0] for name in names]
    known = sorted(set(owners))
    groups = np.array([known.index(owner) for owner in owners])
    if "embedding" not in rule.needs:
        return Arms(len(names), groups)
    return Arms(len(names), groups, _embedding(data, names, features))


def _embedding(
    data: TaskDistribution, names: Sequence[TaskId], features: Features | None
) -> np.ndarray:
    """The mean feature of each task's images less the mean of all tasks, as unit vectors [n, d].

    Without frozen features, small pictures take their place.
    """
    means = torch.cat(list(_means(data, names, features))).double()
    means = means - means.mean(0)
    unit = means / means.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return unit.cpu().numpy()


def _means(
    data: TaskDistribution, names: Sequence[TaskId], features: Features | None
) -> Iterator[Tensor]:
    for at in range(0, len(names), AT_ONCE):
        parts = [next(iter(data.images(name).values())) for name in names[at : at + AT_ONCE]]
        flat = torch.cat(parts)
        seen = _small(flat) if features is None else features(flat)
        yield torch.stack([x.mean(0) for x in torch.split(seen, [len(part) for part in parts])])


def _small(images: Tensor) -> Tensor:
    side = min(PIXELS, *images.shape[2:])
    return torch.nn.functional.adaptive_avg_pool2d(images, side).flatten(1)
