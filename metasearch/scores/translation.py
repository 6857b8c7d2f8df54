"""What scores of translations share."""

from __future__ import annotations

import torch
from torch import Tensor

from metasearch.models.base import TranslatorModel
from metasearch.scores.base import Subject, by_task, finite_or_nan
from metasearch.tasks.base import Batch


def translated(subject: Subject, batch: Batch) -> Batch:
    """What the adapted family makes of images; `lacks` was asked before."""
    family = subject.adapted.learner.family
    assert isinstance(family, TranslatorModel), "the judge asks translators alone"
    with torch.no_grad():
        return family.translate(subject.adapted.nets, batch)


def difference(found: Batch, wanted: Batch, tasks: int) -> Tensor:
    """Mean absolute difference of light times 100, over all that was found; [tasks]."""
    apart = [(found[d] - wanted[d]).double().abs().flatten(1).mean(1) for d in found]
    # Light is half of what pixels in [-1, 1] span.
    return finite_or_nan(by_task(50 * torch.stack(apart).mean(0), tasks).mean(1))
