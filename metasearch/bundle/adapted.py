"""Adapting a bundle to a handful of images, and drawing more of the same class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from metasearch.bundle.base import Part
from metasearch.engine import Batched
from metasearch.engine.base import Adapted
from metasearch.errors import DataError
from metasearch.models.base import noise_per_task
from metasearch.models.conditions import rows_to_draw
from metasearch.rng import Stream
from metasearch.tasks.base import Batch

PAPER, INK = (233, 233, 233), (32, 32, 32)
CELL = 56  # a picture is enlarged until it has at least so many pixels a side
GAP, MARGIN, TITLE = 2, 14, 24
_TASK = "yours"  # one task; its name only places the noise


@dataclass(frozen=True)
class Adaptation:
    """A model that has seen your images; `sample` draws new ones of their class."""

    parts: Sequence[tuple[Adapted, float]]
    support: Batch  # as the model saw it, [n, c, h, w] in [-1, 1], and labels "y" if it has any
    inverted: bool  # the images came dark on light and the model learned light on dark

    @staticmethod
    def learn(
        parts: Sequence[Part],
        support: Tensor,
        *,
        steps: int | None = None,
        seed: int = 0,
        inverted: bool = False,
        labels: Sequence[int] | None = None,
    ) -> Adaptation:
        """Run each part's inner loop on the support images [n, c, h, w] in [-1, 1].

        Raises:
            DataError: the model goes by classes and the `labels` of the images do not fit.
        """
        batch = {"x": support, **_labelled(parts, len(support), labels)}
        done = []
        for i, part in enumerate(parts):
            adapter = part.adapter
            if steps is not None:
                adapter = replace(adapter, inner=replace(adapter.inner, steps=steps))
            noise = noise_per_task(adapter.learner.family, Stream(seed).at("adapt", i), [_TASK])
            done.append((adapter.adapt(Batched(), batch, 1, noise), part.weight))
        return Adaptation(done, batch, inverted)

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw `n` images [n, c, h, w] in [0, 1], dark on light if your images were.

        The same seed gives the same images. A model that goes by classes draws for the class of
        each of your images in turn.

        Raises:
            DataError: adapting diverged.
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
                given = rows_to_draw(family, self.support, 1, count)
                noise = family.draw(given, Stream(seed).at("sample", i))
                with torch.no_grad():
                    out[mine] = family.generate(adapted.nets, given, noise)["x"]
        if not out.isfinite().all():
            raise DataError(
                "adapting to these images diverged: what is drawn is not finite. Adapt with fewer "
                "`steps`, or to more images."
            )
        return self._shown(out)

    def given(self) -> Tensor:
        """Your images as the model saw them, [n, c, h, w] in [0, 1]."""
        return self._shown(self.support["x"])

    def _shown(self, images: Tensor) -> Tensor:
        light = (images.clamp(-1, 1) + 1) / 2
        return 1 - light if self.inverted else light


def _labelled(
    parts: Sequence[Part], images: int, labels: Sequence[int] | None
) -> dict[str, Tensor]:
    """The classes of the images as models want them; nothing if none goes by classes."""
    families = [part.adapter.learner.family for part in parts]
    if not any("y" in family.domains for family in families):
        return {}
    most = min(getattr(family, "classes", images) for family in families)
    if labels is None or len(labels) != images or not all(-1 <= y < most for y in labels):
        raise DataError(
            f"the model draws by class: give `labels`, one for each of the {images} images; "
            f"allowed are 0 to {most - 1}, and -1 where the class is not known; got {labels!r}."
        )
    return {"y": torch.tensor(labels, dtype=torch.int64)}


def picture(adaptation: Adaptation, samples: Tensor) -> Image.Image:
    """Your images on the left, samples [n, c, h, w] on the right, on one sheet."""
    given = adaptation.given()
    across = max(1, round(len(samples) ** 0.5))
    lines = -(-len(samples) // across)
    blocks = {"yours": _tiled(given, max(1, -(-len(given) // lines))),
              "drawn": _tiled(samples, across)}  # fmt: skip
    width = MARGIN + sum(block.width + MARGIN for block in blocks.values())
    height = TITLE + max(block.height for block in blocks.values()) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    pen, left = ImageDraw.Draw(sheet), MARGIN
    for title, block in blocks.items():
        pen.text((left, TITLE // 4), title, fill=INK, font=ImageFont.load_default(13))
        sheet.paste(block, (left, TITLE))
        left += block.width + MARGIN
    return sheet


def save_images(samples: Tensor, folder: Path) -> None:
    """One PNG per sample, `0000.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(samples):
        _to_pil(image).save(folder / f"{i:04d}.png")


def _tiled(images: Tensor, columns: int) -> Image.Image:
    """Images [n, c, h, w] in lines of `columns`, enlarged by a whole factor."""
    n, _, h, w = images.shape
    scale = max(1, -(-CELL // max(h, w)))
    wide, high = w * scale + GAP, h * scale + GAP
    sheet = Image.new("RGB", (columns * wide - GAP, -(-n // columns) * high - GAP), PAPER)
    for i, image in enumerate(images):
        tile = _to_pil(image).resize((w * scale, h * scale), Image.Resampling.NEAREST)
        sheet.paste(tile, (i % columns * wide, i // columns * high))
    return sheet


def _to_pil(image: Tensor) -> Image.Image:
    pixels = (image.clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
