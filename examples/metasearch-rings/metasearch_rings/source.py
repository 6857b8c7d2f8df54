"""A task source: rings of a radius and a width that are the task's own."""

from __future__ import annotations

from typing import Literal

import numpy as np

import metasearch
from metasearch.rng import Stream
from metasearch.tasks.image_tasks import ImageTasks
from metasearch.tasks.reading import ImageClass, Reading, Wanted, finish


@metasearch.component
class Rings:
    """A task is a radius and a width; its images are rings at different places."""

    name: Literal["rings"] = "rings"
    size: int = 16  # pixels a side
    shot: int = 5
    query: int = 10
    anchor: int = 5
    kinds: int = 40  # tasks
    seed: int = 0

    def open(self) -> ImageTasks:
        """Draw every ring, split the kinds into five sets, and check them for leaks.

        Raises:
            DataError: too few kinds for five sets.
        """
        each = 2 * (self.shot + self.query + self.anchor)
        pictures, owner = [], []
        for kind in range(self.kinds):
            rng = Stream(self.seed).at("ring", kind).numpy()
            radius, width = rng.uniform(0.15, 0.4) * self.size, rng.uniform(0.5, 1.5)
            for _ in range(each):
                place = self.size / 2 + rng.normal(scale=self.size / 12, size=2)
                pictures.append(ring(self.size, place, radius, width))
                owner.append(kind)
        classes = tuple(ImageClass(f"ring{kind:03d}") for kind in range(self.kinds))
        reading = Reading(np.stack(pictures)[:, None], np.array(owner), classes)
        need = self.shot + self.query + self.anchor
        return finish(reading, Wanted(need=need, invert="no", seed=self.seed, leaks="keep"))


def ring(size: int, place: np.ndarray, radius: float, width: float) -> np.ndarray:
    """One ring, uint8 [size, size], light on dark."""
    y, x = np.mgrid[:size, :size] + 0.5
    away = np.abs(np.hypot(x - place[0], y - place[1]) - radius)
    return (255 * np.clip(width - away + 0.5, 0, 1)).astype(np.uint8)
