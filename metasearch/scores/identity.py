"""Whether a translator leaves alone what is of its domain already."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject
from metasearch.scores.translation import difference, translated
from metasearch.tasks.base import image_domains


@component
class Identity:
    """Mean absolute difference of light per pixel, times 100, of images that are there already.

    A translator to "b" is given query images of "b", and the other way round. The identity scores
    0, so a family must not be ranked by it: to be watched beside a score of what is translated.
    """

    name: Literal["identity"] = "identity"

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
        names = image_domains(query)
        there = {d: query[other] for d, other in zip(names, reversed(names), strict=True)}
        found = translated(subject, there)
        return difference(found, query, subject.tasks)
