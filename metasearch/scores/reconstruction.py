"""How near a family's encoder and decoder bring an image back to itself."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from metasearch.errors import ConfigError
from metasearch.models.base import EncoderModel
from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject, by_task, finite_or_nan


@component
class Reconstruction:
    """Squared error of light per pixel, times 100, of query images sent through their codes.

    A blank page scores the share of ink in percent. An identity scores 0, so a family must not be
    ranked by it: to be watched beside a score of what is drawn.
    """

    name: Literal["reconstruction"] = "reconstruction"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "squared light x 100"
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "model"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    asks: ClassVar[Ability] = "encoding"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], after adaptation.

        Raises:
            ConfigError: the family has no encoder.
        """
        family = subject.adapted.learner.family
        if not isinstance(family, EncoderModel):
            raise ConfigError(
                f"score 'reconstruction': {family.name!r} has no encoder. Use a family that has "
                "one, such as 'vae', or a score of samples such as 'mmd'."
            )
        query = subject.episodes.query
        with torch.no_grad():
            found = family.reconstruct(subject.adapted.nets, query)
        apart = [(found[d] - query[d]).double().square().flatten(1).mean(1) for d in found]
        # Light is half of what pixels in [-1, 1] span, so its square a quarter.
        return finite_or_nan(by_task(25 * torch.stack(apart).mean(0), subject.tasks).mean(1))
