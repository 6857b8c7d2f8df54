"""Pen strokes of pictures: how a pen might have drawn what is only seen."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from metasearch.errors import DataError
from metasearch.tasks.pen import to_steps
from metasearch.tasks.skeleton import thin, trace

_FINE = 112  # pixels a side at least when lines are thinned


def traced(images: Tensor, length: int) -> Tensor:
    """The steps [n, length, 3] of a pen, as `pen` tells them, of images [n, c, h, w] with ink at 1.

    Each picture is enlarged, thinned to lines and followed along them, as the source `strokes` does
    with glyphs. Where a drawing lies and how large it is are forgotten: it is centred and fitted.

    Raises:
        DataError: a picture has no ink.
    """
    finer = -(-_FINE // min(images.shape[-2:]))
    grey = F.interpolate(images.mean(1, keepdim=True), scale_factor=float(finer), mode="bilinear")
    inks = F.pad(grey, (1, 1, 1, 1), value=-1.0).squeeze(1) > 0
    blank = [i + 1 for i, ink in enumerate(inks) if not bool(ink.any())]
    if blank:
        raise DataError(
            f"image {blank[0]} of {len(inks)} has no lines that a pen could draw; allowed are "
            "drawings in light and dark. Leave it out."
        )
    widths, lines = _depths(inks).numpy(), thin(inks.numpy())
    steps = [
        to_steps([path[:, ::-1] for path in trace(line, width)], length)
        for line, width in zip(lines, widths, strict=True)
    ]
    return torch.from_numpy(np.stack(steps))


def _depths(inks: Tensor) -> Tensor:
    """How deep in the ink each pixel lies, float [n, h, w]: how many peelings it outlasts."""
    left = inks.float().unsqueeze(1)
    depth = torch.zeros_like(left)
    while bool(left.any()):
        depth += left
        left = -F.max_pool2d(-left, 3, 1, 1)
    return (depth.squeeze(1) - 0.5).clamp(min=0.5)
