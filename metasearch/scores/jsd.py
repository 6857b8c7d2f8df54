"""How well a fresh critic tells generated from real images, as a divergence."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor

from metasearch.registry import component
from metasearch.scores.base import Ability, Direction, Sight, Subject
from metasearch.scores.critic import LEAST, discriminate


@component
class JSD:
    """A lower bound of the Jensen-Shannon divergence: ln 2 minus a fresh critic's cross-entropy.

    0 if a critic cannot tell samples from query, ln 2 if it always can; by chance a little more
    often below 0 than above. A trial's own discriminator takes no part: its cross-entropy is low
    also when the generator is bad. The critic knows the task, so the bound is on the divergence
    given the support, and copies of the support are told too.

    Source: Goodfellow et al., "Generative Adversarial Nets", 2014, theorem 1; Lopez-Paz & Oquab,
    "Revisiting Classifier Two-Sample Tests", 2017. Differs: the critic is a ridge logistic
    regression, whose optimum is one and is found exactly.
    """

    name: Literal["jsd"] = "jsd"
    ridge: float = 0.03  # of the critic's standardised weights, in nats

    direction: ClassVar[Direction] = "minimize"
    unit: ClassVar[str] = "nats"  # of information about which is real; at most ln 2
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
        """[tasks], nats, at most ln 2.

        Raises:
            DataError: fewer than four images on a side.
        """
        return math.log(2) - discriminate(self, subject, self.ridge).cross_entropy
