"""A game of four nets on two domains, as CycleGAN plays it, on the contract of families."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from metasearch.models.base import Nets, Noise
from metasearch.models.nets import normalise
from metasearch.registry import component
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] to the same."""
        beside: Tensor = self.path(x)
        return x + beside


class PatchMean(nn.Module):
    """Logits of patches [n, 1, h, w] to one per image, [n]."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over patches."""
        return x.flatten(1).mean(1)


@component
class CycleGAN:
    """Two translators and two critics; the translators move together, the critics too.

    Source: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
    Networks", 2017, eq. 1-4 with the least-squares loss of section 4. Differs: nets for small
    images, a critic's patches are averaged before its loss, no pool of old translations.
    """

    name: Literal["cyclegan"] = "cyclegan"
    width: int = 16
    norm: Literal["none", "group"] = "none"
    cycle: float = 10.0  # weight of getting an image back

    @property
    def domains(self) -> tuple[str, ...]:
        """Two kinds of images."""
        return ("a", "b")

    @property
    def players(self) -> Mapping[str, tuple[str, ...]]:
        """Two players with two nets each."""
        return {"critics": ("critic_a", "critic_b"), "translators": ("a_to_b", "b_to_a")}

    @property
    def turns(self) -> tuple[str, ...]:
        """Critics first."""
        return ("critics", "translators")

    def build(self, shape: Shape) -> Mapping[str, nn.Module]:
        """Four nets for images of a side that can be halved twice."""
        return {
            "critic_a": self._critic(shape),
            "critic_b": self._critic(shape),
            "a_to_b": self._translator(shape),
            "b_to_a": self._translator(shape),
        }

    def draw(self, like: Batch, rng: Stream, *, samples: int = 1) -> Noise:  # noqa: ARG002
        """Nothing is random in it; an unused number per image keeps its rows countable."""
        x = like["a"]
        return {"none": torch.zeros(x.shape[0], 1, device=x.device, dtype=x.dtype)}

    def loss(self, player: str, nets: Nets, batch: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        """Squared distance of logits from 1 and 0; for translators, plus the way there and back."""
        a, b = batch["a"], batch["b"]
        if player == "critics":
            with torch.no_grad():
                fake_b, fake_a = self._translate(nets, a, b)
            on_a = (nets["critic_a"](a) - 1) ** 2 + nets["critic_a"](fake_a) ** 2
            on_b = (nets["critic_b"](b) - 1) ** 2 + nets["critic_b"](fake_b) ** 2
            return on_a + on_b
        fake_b, fake_a = self._translate(nets, a, b)
        fooled = (nets["critic_b"](fake_b) - 1) ** 2 + (nets["critic_a"](fake_a) - 1) ** 2
        again_b, again_a = self._translate(nets, fake_a, fake_b)
        back = (again_a - a).abs().flatten(1).mean(1) + (again_b - b).abs().flatten(1).mean(1)
        return fooled + self.cycle * back

    def generate(self, nets: Nets, given: Batch, noise: Noise) -> Batch:  # noqa: ARG002
        """Translations of the support."""
        b, a = self._translate(nets, given["a"], given["b"])
        return {"a": a, "b": b}

    @staticmethod
    def _translate(nets: Nets, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(nets["a_to_b"](a)), torch.tanh(nets["b_to_a"](b))

    def _translator(self, shape: Shape) -> nn.Module:
        c, w = shape[0], self.width
        return nn.Sequential(
            *(nn.Conv2d(c, w, 4, 2, 1), normalise(self.norm, w), nn.SiLU()),
            *(nn.Conv2d(w, 2 * w, 4, 2, 1), normalise(self.norm, 2 * w), nn.SiLU()),
            *(Residual(2 * w), nn.SiLU()),
            *(nn.ConvTranspose2d(2 * w, w, 4, 2, 1), normalise(self.norm, w), nn.SiLU()),
            nn.ConvTranspose2d(w, c, 4, 2, 1),
        )

    def _critic(self, shape: Shape) -> nn.Module:
        c, w = shape[0], self.width
        return nn.Sequential(
            *(nn.Conv2d(c, w, 4, 2, 1), nn.SiLU()),
            *(nn.Conv2d(w, 2 * w, 4, 2, 1), normalise(self.norm, 2 * w), nn.SiLU()),
            *(nn.Conv2d(2 * w, 1, 3, 1, 1), PatchMean()),
        )
