"""Whether the class that was asked for is the class that is seen."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import (
    Ability,
    Direction,
    Sight,
    Subject,
    by_task,
    check_enough,
    finite_or_nan,
)
from metasearch.tasks.base import Batch


@component
class Recognition:
    """The share of generated images that are taken for the class they were asked for.

    The judge is none of the model's parts: it takes an image for the class of its task whose real
    query images have the nearest mean in the frozen features. Chance is one over the classes of a
    task. An image for which no class was asked (label -1) counts as chance; a task without labels
    is one class, and all is recognised.

    Not proper: one typical image of each class, over and over, is always recognised.

    Source: the classifier is that of Snell et al., "Prototypical Networks for Few-shot Learning",
    2017, eq. 2; the score follows Ravuri & Vinyals, "Classification Accuracy Score for Conditional
    Generative Models", 2019. Differs: trained on real and judged on generated images, where theirs
    is the other way round.
    """

    name: Literal["recognition"] = "recognition"

    direction: ClassVar[Direction] = "maximize"
    unit: ClassVar[str] = "share"  # of the images
    proper: ClassVar[bool] = False  # a typical image of each class is enough
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], between 0 and 1.

        Raises:
            DataError: a task has no image on a side.
        """
        check_enough(self, subject)
        samples, query = subject.sample_features.double(), subject.query_features.double()
        asked = _labels(subject.samples, samples)
        real = _labels(subject.episodes.query, query)
        classes = int(real.max()) + 1
        of = F.one_hot(real.clamp_min(0), classes) * (real >= 0).unsqueeze(2)
        count = of.sum(1)  # [tasks, classes]
        means = of.to(query).mT @ query / count.clamp_min(1).unsqueeze(2)
        far = torch.cdist(samples, means).masked_fill((count == 0).unsqueeze(1), torch.inf)
        right = (far.argmin(2) == asked).double()
        chance = 1 / (count > 0).sum(1, keepdim=True).double()
        share = torch.where(asked >= 0, right, chance).mean(1)
        lost = ~samples.isfinite().all(2).all(1)
        return finite_or_nan(share.masked_fill(lost, torch.nan))


def _labels(batch: Batch, features: Tensor) -> Tensor:
    """The labels [tasks, n] that go with features [tasks, n, d]; 0 where there are none."""
    none = torch.zeros(features.shape[:2], dtype=torch.int64, device=features.device)
    return by_task(batch["y"], len(features)) if "y" in batch else none
