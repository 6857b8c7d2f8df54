"""Adapting a bundle to a handful of images, and drawing more of the same class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from metasearch.bundle.base import Part
from metasearch.bundle.images import Images, in_range
from metasearch.engine import Batched
from metasearch.engine.base import Adapted
from metasearch.errors import DataError
from metasearch.models.base import GenerativeModel, cycled, noise_per_task, rows
from metasearch.models.conditions import rows_to_draw
from metasearch.rng import Stream
from metasearch.tasks.base import Batch, Shape, image_domains

PAPER, INK = (233, 233, 233), (32, 32, 32)
CELL = 56  # a picture is enlarged until it has at least so many pixels a side
GAP, MARGIN, TITLE = 2, 14, 24
_TASK = "yours"  # one task; its name only places the noise


Asked = Callable[[GenerativeModel, Tensor], Batch]
"""A family, and bool [n], which of `n` images it is to draw, to the rows that ask for them."""


@dataclass(frozen=True)
class Adaptation:
    """A model that has seen your images; `sample` draws new ones of their class.

    One that translates has seen images of two domains; `translate` takes others over.
    """

    parts: Sequence[tuple[Adapted, float]]
    support: Batch  # as the model saw it, [n, c, h, w] in [-1, 1], and labels "y" if it has any
    inverted: bool  # the images came dark on light and the model learned light on dark

    @staticmethod
    def learn(
        parts: Sequence[Part],
        support: Mapping[str, Tensor],
        *,
        steps: int | None = None,
        seed: int = 0,
        inverted: bool = False,
        labels: Sequence[int] | None = None,
    ) -> Adaptation:
        """Run each part's inner loop on the support images of each domain, [n, c, h, w] in [-1, 1].

        Raises:
            DataError: the model goes by classes and the `labels` of the images do not fit.
        """
        batch = {**support, **_labelled(parts, rows(support), labels)}
        done = []
        for i, part in enumerate(parts):
            adapter = part.adapter
            if steps is not None:
                adapter = replace(adapter, inner=replace(adapter.inner, steps=steps))
            noise = noise_per_task(adapter.learner.family, Stream(seed).at("adapt", i), [_TASK])
            done.append((adapter.adapt(Batched(), even(batch), 1, noise), part.weight))
        return Adaptation(done, batch, inverted)

    @property
    def domains(self) -> tuple[str, ...]:
        """What your images are called: "x" alone, or "a" and "b"."""
        return image_domains(self.support)

    def sample(self, n: int, *, seed: int = 0) -> Tensor:
        """Draw `n` images [n, c, h, w] in [0, 1], dark on light if your images were.

        The same seed gives the same images. A model that goes by classes draws for the class of
        each of your images in turn; one that translates takes over each of your images of "a".

        Raises:
            DataError: adapting diverged.
        """
        support = even(self.support)
        return self._drawn(n, seed, lambda f, mine: rows_to_draw(f, support, 1, int(mine.sum())))

    def translate(self, images: Images, *, seed: int = 0) -> Tensor:
        """Your images of "a" as images of "b", [n, c, h, w] in [0, 1]; light and dark as before.

        Raises:
            DataError: the model does not translate, an image cannot be read, adapting diverged.
        """
        if len(self.domains) != 2:
            raise DataError(
                "the model draws images of one class and translates none; use `sample`."
            )
        x = self._read(images)
        return self._drawn(len(x), seed, lambda _, mine: dict.fromkeys(self.domains, x[mine]))

    def write_program(self, path: str | Path) -> dict[str, Any]:
        """The adapted generator as a program that needs no metasearch: .pt2, or .onnx.

        What it takes and how exact it is comes back; see `metasearch.bundle.program`.

        Raises:
            ConfigError: `path` ends otherwise.
            DataError: it is a mixture, or torch cannot trace the family.
            EnvironmentFault: a package for ONNX is missing, or what was written draws otherwise.
        """
        from metasearch.bundle.program import write_program

        return write_program(self, Path(path))

    def given(self, domain: str | None = None) -> Tensor:
        """Your images (of the first domain) as the model saw them, [n, c, h, w] in [0, 1]."""
        return self._shown(self.support[domain or self.domains[0]])

    def turns(self, n: int) -> Tensor:
        """Your images that `sample` takes over, in its order, [n, c, h, w] in [0, 1]."""
        return self._shown(cycled(even(self.support), 1, n)[self.domains[0]])

    def seen(self, images: Images) -> Tensor:
        """Other images as the model sees them, [n, c, h, w] in [0, 1].

        Raises:
            DataError: one cannot be read.
        """
        return self._shown(self._read(images))

    def _read(self, images: Images) -> Tensor:
        x = in_range(images, self._shape)
        return -x if self.inverted else x

    @property
    def _shape(self) -> Shape:
        channels, height, width = self.support[self.domains[0]].shape[1:]
        return channels, height, width

    def _drawn(self, n: int, seed: int, asked: Asked) -> Tensor:
        """`n` images, dealt to the parts by their weights."""
        share = Stream(seed).at("part").numpy().random(n)
        edges = np.cumsum([weight for _, weight in self.parts])
        # A part may be drawn for no image at all; rounding must not lose the last.
        which = np.minimum(np.searchsorted(edges, share, side="right"), len(self.parts) - 1)
        out = torch.empty(n, *self._shape)
        for i, (adapted, _) in enumerate(self.parts):
            mine = torch.from_numpy(which == i)
            if bool(mine.any()):
                family = adapted.learner.family
                given = asked(family, mine)
                noise = family.draw(given, Stream(seed).at("sample", i))
                with torch.no_grad():
                    made = family.generate(adapted.nets, given, noise)
                out[mine] = made[image_domains(made)[0]]
        if not out.isfinite().all():
            raise DataError(
                "adapting to these images diverged: what is drawn is not finite. Adapt with fewer "
                "`steps`, or to more images."
            )
        return self._shown(out)

    def _shown(self, images: Tensor) -> Tensor:
        light = (images.clamp(-1, 1) + 1) / 2
        return 1 - light if self.inverted else light


def even(support: Batch) -> Batch:
    """As many rows of each domain: those of the smaller one over and over."""
    most = max(len(x) for x in support.values())
    return {d: cycled({d: x}, 1, most)[d] for d, x in support.items()}


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


def picture(adaptation: Adaptation, samples: Tensor, asked: Tensor | None = None) -> Image.Image:
    """Your images on the left, samples [n, c, h, w] on the right, on one sheet.

    `asked` are the images that samples are translations of, which stand before them.
    """
    across = max(1, round(len(samples) ** 0.5))
    lines = -(-len(samples) // across)

    def beside(images: Tensor) -> Image.Image:
        return _tiled(images, max(1, -(-len(images) // lines)))

    names = adaptation.domains
    blocks = {d if len(names) > 1 else "yours": beside(adaptation.given(d)) for d in names}
    if asked is not None:
        blocks["from"] = _tiled(asked, across)
    blocks["drawn"] = _tiled(samples, across)
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
