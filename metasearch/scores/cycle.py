"""How much of an image is lost on the way to the other domain and back."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject
from metasearch.scores.translation import difference, translated


@component
class Cycle:
    """Mean absolute difference of light per pixel, times 100, of query images sent there and back.

    The identity scores 0, so a family must not be ranked by it: to be watched beside a score of
    what is translated.
    """

    name: Literal["cycle"] = "cycle"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "light x 100"  # mean absolute difference of pixels
    proper: ClassVar[bool] = False
    looks_at: ClassVar[Sight] = "model"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    asks: ClassVar[Ability] = "translation"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = 1

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], after adaptation."""
        query = subject.episodes.query
        there = translated(subject, query)
        return difference(translated(subject, there), query, subject.tasks)
