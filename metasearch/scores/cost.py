"""What adapting to a class costs."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject, by_task


@component
class AdaptationCost:
    """Gradient evaluations of adapting to one task: one per image, player and inner step.

    The same on every machine, as seconds are not. A recipe that does not adapt has no cost, so
    this is the second thing to look at, never the first.
    """

    name: Literal["cost"] = "cost"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "gradient evaluations"
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "model"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], all the same."""
        each = subject.adapted.gradients / subject.tasks
        images = by_task(subject.samples[subject.domain], subject.tasks)
        finite = images.isfinite().flatten(1).all(1)
        return torch.where(finite, each, torch.nan).double()
