"""How it is meta-learned: turn episodes into a meta-gradient, and adapt to a new task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from metasearch.engine.base import Adapted, Engine, InnerLoop, TaskGradients
from metasearch.models.base import GenerativeModel, Learner, NoiseSource, Params
from metasearch.tasks.base import Batch, Episodes


@dataclass(frozen=True)
class MetaGradient:
    """What one meta-step of an algorithm found out."""

    values: Params  # gradient of each meta-parameter, averaged over finite tasks
    finite: Tensor  # bool [tasks]: diverged tasks are counted here and nowhere summed in
    before: Tensor  # [tasks] mean support loss at the meta-parameters, all players added up
    after: Tensor  # [tasks] mean query loss after adaptation, all players added up
    losses: dict[str, float]  # player -> mean query loss over finite tasks
    gradients: int  # gradient evaluations spent, counted per task


class MetaAlgorithm(Protocol):
    """A frozen component; its state between steps is the learner and the outer optimiser."""

    name: str
    inner: InnerLoop

    @property
    def trains(self) -> bool:
        """False if there is nothing to meta-train (`scratch`)."""
        ...

    def meta_gradient(
        self, engine: Engine, learner: Learner, episodes: Episodes, noise: NoiseSource
    ) -> MetaGradient:
        """One meta-batch's gradient; leaves the learner as it was."""
        ...

    def adapt(
        self, engine: Engine, learner: Learner, support: Batch, tasks: int, noise: NoiseSource
    ) -> Adapted:
        """Adapt every task to its support images, as at test time."""
        ...
