"""Reading a bundle: torch, numpy, safetensors and Pillow are enough, and nothing in it is run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from metasearch.bundle.adapted import Adaptation
from metasearch.bundle.base import FORMAT, Part
from metasearch.bundle.images import Images, prepare
from metasearch.engine.base import InnerLoop
from metasearch.errors import BundleError, ConfigError
from metasearch.models import MODELS
from metasearch.models.base import Learner
from metasearch.registry import revive
from metasearch.rng import Stream
from metasearch.tasks.base import Shape


@dataclass(frozen=True)
class Bundle:
    """A meta-learned model: adapt it to a few images of a new class, then draw more of them."""

    folder: Path
    shape: Shape  # channels, height, width of what it was trained on
    border: float  # median of the outermost pixels of its training images
    parts: Sequence[Part]
    report: dict[str, Any]

    def adapt(self, images: Images, *, steps: int | None = None, seed: int = 0) -> Adaptation:
        """Learn a new class from a few images of it; the bundle is left as it was.

        `images` are files, a folder, PIL images, or an array [n, h, w] or [n, h, w, c] with
        values 0-255 (integers) or 0-1; any size and mode. `steps` overrides the trained number.

        Raises:
            DataError: there is no image, or one cannot be read.
        """
        support, inverted = prepare(images, self.shape, self.border)
        return Adaptation.learn(self.parts, support, steps=steps, seed=seed, inverted=inverted)


def load_bundle(folder: str | Path) -> Bundle:
    """Open a bundle.

    Raises:
        BundleError: a part is missing, was changed, or is of an unknown format.
    """
    folder = Path(folder)
    plan = _read(folder, "adaptation.json")
    if plan.get("format") != FORMAT:
        raise BundleError(
            f"{folder}: bundle format {plan.get('format')!r}; this version reads {FORMAT}. "
            "Load it with the version in its constraints.txt."
        )
    weights = _weights(folder, plan)
    try:
        border = float(plan["border"])
        shape = tuple(int(n) for n in plan["shape"])
        parts = [
            _part(f"{folder}/adaptation.json: parts[{i}]", part, shape, _under(weights, i))
            for i, part in enumerate(plan["parts"])
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}/adaptation.json: not a bundle's ({error}).") from error
    sizes = (shape[0], shape[1], shape[2])
    return Bundle(folder, sizes, border, parts, _read(folder, "report.json"))


def _part(where: str, data: Any, shape: tuple[int, ...], weights: dict[str, Tensor]) -> Part:
    try:
        family = revive(MODELS, data["model"], f"{where}.model")
        inner = revive(InnerLoop, data["inner"], f"{where}.inner")
    except ConfigError as error:
        raise BundleError(str(error)) from error
    # The stream is of no consequence: every weight is overwritten at once.
    learner = Learner.create(family, (shape[0], shape[1], shape[2]), Stream(0))
    learner.load(weights)
    return Part(learner, inner, float(data["weight"]))


def _weights(folder: Path, plan: dict[str, Any]) -> dict[str, Tensor]:
    path = folder / "model.safetensors"
    try:
        want = plan["sha256"][path.name]
        if hashlib.sha256(path.read_bytes()).hexdigest() != want:
            raise BundleError(f"{path}: changed since it was exported. Export it again.")
        return load_file(path)
    except (OSError, KeyError, TypeError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot be read ({error}).") from error


def _under(weights: dict[str, Tensor], part: int) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _read(folder: Path, name: str) -> dict[str, Any]:
    try:
        data = json.loads((folder / name).read_text("utf-8"))
    except OSError as error:
        raise BundleError(
            f"{folder}: not a bundle ({name} is missing). Make one with `metasearch export RUN`."
        ) from error
    except ValueError as error:
        raise BundleError(f"{folder / name}: not JSON ({error}). Export it again.") from error
    if not isinstance(data, dict):
        raise BundleError(f"{folder / name}: not a mapping. Export it again.")
    return data
