"""Adapting a bundle to a handful of images, and drawing more of the same class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metasearch.algorithms.base import adapt
from metasearch.bundle.base import Part
from metasearch.engine import Batched
from metasearch.engine.base import Adapted, InnerLoop
from metasearch.models.base import noise_per_task, repeat_rows
from metasearch.rng import Stream
from metasearch.tasks.base import Batch

_TASK = "yours"  # one task; its name only places the noise


@dataclass(frozen=True)
class Adaptation:
    """A model that has seen your images; `sample` draws new ones of their class."""

    parts: Sequence[tuple[Adapted, float]]
    support: Batch  # as the model saw it, [n, c, h, w] in [-1, 1]
    inverted: bool  # the images came dark on light and the model learned light on dark

    @staticmethod
    def learn(
        parts: Sequence[Part],
        support: Tensor,
        *,
        steps: int | None = None,
        seed: int = 0,
        inverted: bool = False,
    ) -> Adaptation:
        """Run each part's inner loop on the support images [n, c, h, w] in [-1, 1]."""
        batch = {"x": support}
        done = []
        for i, part in enumerate(parts):
            inner = part.inner if steps is None else _with_steps(part.inner, steps)
            noise = noise_per_task(part.learner.family, Stream(seed).at("adapt", i), [_TASK])
            adapted = adapt(Batched(), part.learner, inner, batch, 1, noise)
            done.append((adapted, part.weight))
        return Adaptation(done, batch, inverted)

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw `n` images [n, c, h, w] in [0, 1], dark on light if your images were.

        The same seed gives the same images.
        """
        share = Stream(seed).at("part").numpy().random(n)
        edges = np.cumsum([weight for _, weight in self.parts])
        # A part may be drawn for no image at all; rounding must not lose the last.
        which = np.minimum(np.searchsorted(edges, share, side="right"), len(self.parts) - 1)
        out = torch.empty(n, *self.support["x"].shape[1:])
        for i, (adapted, _) in enumerate(self.parts):
            mine = torch.from_numpy(which == i)
            count = int(mine.sum())
            if count:
                family = adapted.learner.family
                noise = family.draw(repeat_rows(self.support, count), Stream(seed).at("sample", i))
                with torch.no_grad():
                    out[mine] = family.generate(adapted.nets, self.support, noise)["x"]
        return self._shown(out)

    def given(self) -> Tensor:
        """Your images as the model saw them, [n, c, h, w] in [0, 1]."""
        return self._shown(self.support["x"])

    def _shown(self, images: Tensor) -> Tensor:
        light = (torch.nan_to_num(images).clamp(-1, 1) + 1) / 2
        return 1 - light if self.inverted else light


def picture(adaptation: Adaptation, samples: Tensor, *, scale: int = 3) -> Image.Image:
    """Your images on the left, samples on the right, on one sheet."""
    left, right = (_tile(x, scale, columns) for x, columns in _columns(adaptation, samples))
    gap = 8 * scale
    height = max(left.height, right.height)
    sheet = Image.new("RGB", (left.width + gap + right.width, height), (128, 128, 128))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + gap, 0))
    return sheet


def save_images(samples: Tensor, folder: Path) -> None:
    """One PNG per sample, `0000.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(samples):
        _to_pil(image).save(folder / f"{i:04d}.png")


def _columns(adaptation: Adaptation, samples: Tensor) -> list[tuple[Tensor, int]]:
    given = adaptation.given()
    across = max(1, round(len(samples) ** 0.5))
    rows = -(-len(samples) // across)
    return [(given, max(1, -(-len(given) // rows))), (samples, across)]


def _tile(images: Tensor, scale: int, columns: int) -> Image.Image:
    n, _, h, w = images.shape
    rows, gap = -(-n // columns), scale
    cell_w, cell_h = w * scale + gap, h * scale + gap
    sheet = Image.new("RGB", (columns * cell_w + gap, rows * cell_h + gap), (128, 128, 128))
    for i, image in enumerate(images):
        tile = (
            _to_pil(image).convert("RGB").resize((w * scale, h * scale), Image.Resampling.NEAREST)
        )
        sheet.paste(tile, (gap + (i % columns) * cell_w, gap + (i // columns) * cell_h))
    return sheet


def _to_pil(image: Tensor) -> Image.Image:
    pixels = (image.clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _with_steps(inner: InnerLoop, steps: int) -> InnerLoop:
    return replace(inner, steps=steps)
