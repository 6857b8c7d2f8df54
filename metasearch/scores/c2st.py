"""How often a fresh critic tells generated from real images."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject
from metasearch.scores.critic import LEAST, discriminate


@component
class C2ST:
    """The classifier two-sample test: a fresh critic's accuracy on images it did not learn from.

    1/2 if it cannot tell samples from query, 1 if it always can; real and generated count alike,
    however many there are of each. The critic is that of `jsd`, which says how sure it is where
    this one says how often it is right.

    Source: Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests", 2017, eq. 2. Differs: the
    critic is a ridge logistic regression that is told the support, and both halves are judged.
    """

    name: Literal["c2st"] = "c2st"
    ridge: float = 0.03  # of the critic's standardised weights, in nats

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "accuracy"
    proper: ClassVar[bool] = True
    looks_at: ClassVar[Sight] = "samples"
    together: ClassVar[bool] = True
    needs_features: ClassVar[bool] = True
    asks: ClassVar[Ability] = "drawing"
    needs_truth: ClassVar[bool] = False
    least: ClassVar[int] = LEAST

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ValueError(f"ridge must be above 0, got {self.ridge}")

    def __call__(self, subject: Subject) -> Tensor:
        """[tasks], between 0 and 1.

        Raises:
            DataError: fewer than four images on a side.
        """
        return discriminate(self, subject, self.ridge).accuracy
