"""How far a translation is from the right one, where that is known."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.errors import DataError
from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject
from metasearch.scores.translation import difference, translated


@component
class Paired:
    """Mean absolute difference of light per pixel, times 100, of query images and the truth.

    In the direction of the task, "a" to "b". The truth is looked at here alone: nothing learns from
    it. Doing nothing is a strong rival where the domains resemble each other, so what it scores
    stands among the floors, and what is had without adapting beside every score.
    """

    name: Literal["paired"] = "paired"

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "light x 100"  # mean absolute difference of pixels
    proper: ClassVar[bool] = True
    looks_at: ClassVar[Sight] = "model"
    together: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    asks: ClassVar[Ability] = "translation"
    needs_truth: ClassVar[bool] = True
    least: ClassVar[int] = 1

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], after adaptation.

        Raises:
            DataError: the source does not know the truth.
        """
        episodes = subject.episodes
        if not episodes.paired:
            raise DataError(
                "score 'paired': the source does not say which images belong together. Use "
                "'pairs', or a 'pair_folder' with paired: true."
            )
        found = translated(subject, episodes.query)
        first = next(iter(found))
        return difference({first: found[first]}, episodes.query, subject.tasks)
