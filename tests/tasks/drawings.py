"""Made-up characters: each name has a pattern of its own, each image of it differs a little."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from metasearch.rng import Stream

PAPER, INK = 255, 0


def drawing(name: str, i: int, side: int = 24) -> np.ndarray:
    """Dark ink on paper, uint8 [side, side]."""
    cells = Stream(0).at("pattern", name).numpy().random((6, 6)) < 0.4
    cells[0, 0] = cells[5, 5] = True
    rng = Stream(0).at("image", name, i).numpy()
    canvas = np.full((side, side), PAPER, np.uint8)
    x, y = rng.integers(2, side - 20, size=2)
    canvas[y : y + 18, x : x + 18][np.kron(cells, np.ones((3, 3), bool))] = INK
    spots = rng.integers(0, side, size=(6, 2))
    canvas[spots[:, 0], spots[:, 1]] = 128
    return canvas


def drawings(names: Iterable[str], each: int = 6, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, side, side] and the name of each."""
    names = list(names)
    images = np.stack([drawing(n, i, side) for n in names for i in range(each)])
    return images, np.repeat(names, each)


def write_tree(root: Path, folders: Iterable[str], each: int = 6, side: int = 24) -> Path:
    """A PNG for each drawing under ``root/folder``; the folder's last name is the pattern."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            picture = Image.fromarray(drawing(folder, i, side))
            picture.save(root / folder / f"{i:02d}.png")
    return root


def zip_tree(root: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(root.parent))
    return path


def grouped(groups: int = 6, classes: int = 3) -> list[str]:
    return [f"script{g}/letter{c}" for g in range(groups) for c in range(classes)]
