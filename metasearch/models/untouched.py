"""The translator that does nothing: what every other must beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from metasearch.models.base import Nets, Noise
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


@dataclass(frozen=True)
class Untouched:
    """Leaves every image as it is: a family without nets, which learns nothing."""

    domains: tuple[str, ...] = ("a", "b")
    turns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What no search file calls it: it is in no table."""
        return "untouched"

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Nobody."""
        return {}

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:  # noqa: ARG002
        """No net."""
        return {}

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """Nothing is random."""
        return {}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """There is nobody to have one."""
        raise RuntimeError(f"nobody plays, and {player!r} has no loss")

    def translate(self, nets: Nets, batch: Batch) -> Batch:  # noqa: ARG002
        """Each image, in the place of one of the other domain."""
        return {"b": batch["a"], "a": batch["b"]}

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """The support as it is."""
        return self.translate(nets, given)
