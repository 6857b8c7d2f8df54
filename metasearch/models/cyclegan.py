"""The cycle-consistent generative adversarial network: from one domain to another, and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from metasearch.models.adversarial import (
    Hinge,
    LeastSquares,
    NonSaturating,
    Wasserstein,
)
from metasearch.models.base import Nets, Noise, rows
from metasearch.models.nets import Conv, Mlp, Squeeze
from metasearch.models.spectral import with_unit_norm
from metasearch.models.translators import Patches, Resnet
from metasearch.registry import OneOf, Table, at_least, component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape

LOSSES = Table(
    "GAN loss",
    {
        "least_squares": LeastSquares,
        "nonsaturating": NonSaturating,
        "hinge": Hinge,
        "wasserstein": Wasserstein,
    },
)
CRITICS = Table("critic", {"patches": Patches, "conv": Conv, "mlp": Mlp})


@component
class CycleGAN:
    """Two translators that move together against two critics that move together.

    Translations shall pass for images of the other domain, come back to what they were (`cycle`),
    and leave alone what is of the other domain already (`identity`). Both translators start at the
    same weights, and both critics, since no direction is known before a task is.

    Source: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
    Networks", 2017, eq. 1-3, and section 5.2 for the identity; one start for both directions as in
    MT-GAN (Lin et al., "Learning to Transfer: Unsupervised Domain Translation via Meta-Learning",
    2020). Differs: nets for small images; no pool of old translations, which would be a state
    beside the weights; domains are not swapped at random, since sources hold each pair in both
    directions.
    """

    name: Literal["cyclegan"] = "cyclegan"
    cycle: float = (
        5.0  # weight of coming back, L1 per pixel; 10 in the paper, whose squares are whole
    )
    identity: float = (
        0.0  # weight of leaving alone, L1 per pixel; holds back what changes all of it
    )
    net: Resnet = Resnet()  # of the translators
    critic: Annotated[Patches | Conv | Mlp, OneOf(CRITICS)] = Patches()
    objective: Annotated[LeastSquares | NonSaturating | Hinge | Wasserstein, OneOf(LOSSES)] = (
        LeastSquares()
    )
    spectral: bool = False  # spectral normalisation of the critics
    critic_steps: int = 1  # moves of the critics in an inner step
    translator_steps: int = 1  # moves of the translators in an inner step

    def __post_init__(self) -> None:
        """Refuse what cannot be played, and rewards for getting lost."""
        at_least(self, cycle=0, identity=0, critic_steps=1, translator_steps=1)

    @property
    def domains(self) -> tuple[str, ...]:
        """Images of two kinds."""
        return ("a", "b")

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Two players with two nets each."""
        return {"critics": ("critic_a", "critic_b"), "translators": ("a_to_b", "b_to_a")}

    @property
    def turns(self) -> tuple[str, ...]:
        """The critics first, so that the translators meet informed ones."""
        return ("critics",) * self.critic_steps + ("translators",) * self.translator_steps

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Translators from images to images, critics to one logit, or one for each place.

        Raises:
            ConfigError: a net cannot handle the shape.
        """
        critic: nn.Module = nn.Sequential(self.critic.encoder(shape, 1), Squeeze())
        critic = with_unit_norm(critic) if self.spectral else critic
        translator = self.net.build(shape)
        return {
            "critic_a": critic,
            "critic_b": copy.deepcopy(critic),
            "a_to_b": translator,
            "b_to_a": copy.deepcopy(translator),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """The penalty's `mix` [rows, 1, 1, 1], uniform in [0, 1]; nothing else is random."""
        x = like["a"]
        make = rng.torch(x.device)
        return {
            "mix": torch.rand(rows(like), 1, 1, 1, generator=make, device=x.device, dtype=x.dtype)
        }

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:
        """The loss of each row, both directions added up."""
        fake = self.translate(nets, batch)
        if player == "critics":
            return sum(
                (
                    self.objective.critic(nets[f"critic_{d}"], batch[d], fake[d], noise["mix"])
                    for d in "ab"
                ),
                start=batch["a"].new_zeros(()),
            )
        total = sum(
            (self.objective.generator(nets[f"critic_{d}"](fake[d])) for d in "ab"),
            start=batch["a"].new_zeros(()),
        )
        if self.cycle:
            total = total + self.cycle * gap(self.translate(nets, fake), batch)
        if self.identity:
            swapped = {"a": batch["b"], "b": batch["a"]}
            total = total + self.identity * gap(self.translate(nets, swapped), batch)
        return total

    def translate(self, nets: Nets, batch: Batch) -> Batch:
        """Each image in the other domain: "b" is what "a" became, and "a" what "b" did."""
        return {"b": nets["a_to_b"](batch["a"]), "a": nets["b_to_a"](batch["b"])}

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """Translations of the support, "b" first."""
        return self.translate(nets, given)


def gap(found: Batch, wanted: Batch) -> Tensor:
    """The mean absolute difference per pixel of each row [n], summed over the domains."""
    parts = [(found[d] - wanted[d]).abs().flatten(1).mean(1) for d in ("a", "b")]
    return parts[0] + parts[1]
