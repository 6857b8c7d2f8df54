"""What writing and reading a bundle share."""

from __future__ import annotations

from dataclasses import dataclass

from metasearch.engine.base import InnerLoop
from metasearch.models.base import Learner

FORMAT = 1


@dataclass(frozen=True)
class Part:
    """One learner of a bundle; a mixture has several, with weights that sum to 1."""

    learner: Learner
    inner: InnerLoop
    weight: float = 1.0
