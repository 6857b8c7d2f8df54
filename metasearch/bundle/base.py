"""What writing and reading a bundle share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from metasearch.algorithms.base import Adapter
from metasearch.engine.base import InnerLoop
from metasearch.models import MODELS
from metasearch.models.base import GenerativeModel
from metasearch.registry import OneOf, component

FORMAT = 1
WEIGHTS = "model.safetensors"
FEATURES = "features.safetensors"
RATES = "rates|"  # before the names of learned rates in model.safetensors


@dataclass(frozen=True)
class Part:
    """One adapter of a bundle; a mixture has several, with weights that sum to 1."""

    adapter: Adapter
    weight: float = 1.0


@component
class PartPlan:
    """A part without its tensors."""

    model: Annotated[GenerativeModel, OneOf(MODELS)]
    inner: InnerLoop
    weight: float


@component
class Plan:
    """What adaptation.json says: all that drawing needs beside the tensors."""

    format: int
    shape: tuple[int, int, int]
    border: float
    parts: tuple[PartPlan, ...]
    sha256: Mapping[str, str]  # of the files with tensors, by name
    pen_steps: int | None = None  # of a drawing, where the model draws with a pen

    def __post_init__(self) -> None:
        """Refuse what nothing can be drawn from."""
        if min(self.shape) < 1:
            raise ValueError(f"shape must be channels, height and width, got {list(self.shape)}")
        if not math.isclose(sum(part.weight for part in self.parts), 1.0, abs_tol=1e-6):
            raise ValueError("parts must have weights that sum to 1")
        if WEIGHTS not in self.sha256:
            raise ValueError(f"sha256 must name {WEIGHTS}")


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
