"""Images of another source as the steps of a pen that might have drawn them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch

from metasearch.errors import DataError
from metasearch.registry import OneOf, component
from metasearch.tasks.base import SPLITS, Split, TaskId, TaskSource
from metasearch.tasks.cache import Arrays, cached, key_of
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.pen import check_length, render
from metasearch.tasks.reading import (
    ImageClass,
    Leaks,
    Reading,
    Wanted,
    check_settings,
    complain_about,
    finish,
)
from metasearch.tasks.tracing import traced
from metasearch.tasks.wrapping import every_source

_TRACER = 1  # raise when traced strokes change, so that cached ones are made anew


@component
class Traced:
    """Tasks and splits of another source; a row is the picture "x" of the strokes "t" traced in it.

    Every image is thinned to lines and followed as `tracing` tells, so that whoever drew it, and
    how, the strokes come in one order and direction. Strokes are those of the source `strokes`:
    centred, fitted, of one width, and pictures are drawn from them. Classes that differ in
    thickness alone look alike then, so leaks are looked for again.
    """

    name: Literal["traced"] = "traced"
    source: Annotated[TaskSource, OneOf(every_source)]
    size: int = 28  # pixels a side of the pictures; `source.size` is that of what is traced
    length: int = 32  # steps of a drawing
    leaks: Leaks = "drop"  # drop classes whose drawings resemble one of an earlier split, or keep

    def __post_init__(self) -> None:
        """Refuse sizes and lengths that mean nothing."""
        check_settings(self.size, self.shot, self.query, self.anchor)
        check_length("traced", self.length)

    @property
    def shot(self) -> int:
        """Support images of an episode."""
        return self.source.shot

    @property
    def query(self) -> int:
        """Query images of an episode."""
        return self.source.query

    @property
    def anchor(self) -> int:
        """Anchor images of an episode."""
        return self.source.anchor

    def open(self) -> ImageTasks:
        """Open the other source and trace its images (some ms each; once, then from the cache).

        Raises:
            DataError: the source is missing, damaged or too small, has no images of one kind and
                without strokes or labels, or one of them has no lines.
        """
        below = self.source.open()
        if not isinstance(below, ImageTasks) or below.domains != ("x",):
            raise DataError(
                f"traced: {self.source.name} has no plain images; allowed are sources of one image "
                "a row. Lay regimes, noise and labels over what is traced."
            )
        split_of: dict[TaskId, Split] = {t: s for s in SPLITS for t in below.tasks(s)}
        key = key_of([_TRACER, below.fingerprint, self.length, self.size])
        arrays = cached("traced", key, lambda: self._drawn(below, list(split_of)))
        reading = Reading(
            images=arrays["images"],
            owner=np.repeat(np.arange(len(split_of)), [below.count(t) for t in split_of]),
            classes=tuple(_class(t, below.group(t), s) for t, s in split_of.items()),
            notes=below.notes,
            strokes=arrays["steps"],
        )
        jitter = below.jitter and replace(below.jitter, stroke=0.0)  # lines have one width
        wanted = Wanted(
            need=1 if jitter else self.shot + self.query + self.anchor,
            invert="no",
            leaks=self.leaks,
        )
        with complain_about("traced"):
            return finish(reading, wanted, jitter)

    def _drawn(self, below: ImageTasks, tasks: list[TaskId]) -> Arrays:
        steps = []
        for task in tasks:
            with complain_about(f"traced {task}"):
                steps.append(traced(below.images(task)["x"], self.length))
        drawn = torch.cat(steps)
        pictures = ((render(drawn, self.size) + 1) * 127.5).round().byte()
        return {"steps": drawn.numpy(), "images": pictures.numpy()}


def _class(task: TaskId, group: str, split: Split) -> ImageClass:
    """A class that is called as the task is."""
    alone = group == task
    return ImageClass(
        task if alone else task.removeprefix(f"{group}/"), None if alone else group, split
    )
