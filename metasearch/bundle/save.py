"""Writing a bundle: the recipe, the weights, the evidence, and nothing that runs code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from metasearch import __version__
from metasearch.bundle.base import (
    FEATURES,
    FORMAT,
    RATES,
    WEIGHTS,
    Part,
    PartPlan,
    Plan,
    checksum,
)
from metasearch.bundle.card import model_card
from metasearch.registry import to_data
from metasearch.scores.features import ConvFeatures
from metasearch.space import dump
from metasearch.trial.config import TrialConfig


@dataclass(frozen=True)
class Contents:
    """All that goes into a bundle."""

    parts: Sequence[Part]
    config: TrialConfig
    report: Mapping[str, Any]  # scores per split with intervals, baselines, per task
    provenance: Mapping[str, Any]  # versions, fingerprints, seeds, search, trial, when
    border: float  # median of the outermost pixels of real images: -1 where ink is light
    features: ConvFeatures | None  # what the scores were computed in
    samples: bytes  # a PNG: support | before | after on test tasks
    pen_steps: int | None = None  # of a drawing, where the model draws with a pen


def save_bundle(contents: Contents, folder: Path) -> Path:
    """Write a bundle; `folder` appears whole or not at all.

    Raises:
        FileExistsError: `folder` is there already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; choose another place or remove it.")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        _write(contents, draft, folder.name)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(contents: Contents, draft: Path, title: str) -> None:
    # Not by `save_file`, which leaves a file that nobody else may read.
    weights = save(_tensors(contents.parts), {"format": str(FORMAT)})
    (draft / WEIGHTS).write_bytes(weights)
    if contents.features is not None:
        contents.features.save(draft / FEATURES)
    card = model_card(contents.config, contents.report, contents.provenance, title)
    texts = {
        "README.md": card,
        "adaptation.json": _json(to_data(_plan(contents, draft))),
        "config.yaml": dump(to_data(contents.config)),
        "constraints.txt": _pins(),
        "provenance.json": _json(contents.provenance),
        "report.json": _json(contents.report),
    }
    for name, text in texts.items():
        (draft / name).write_text(text, encoding="utf-8")
    (draft / "samples.png").write_bytes(contents.samples)


def _tensors(parts: Sequence[Part]) -> dict[str, torch.Tensor]:
    """What was meta-learned, by names that start with the number of the part."""
    found = {}
    for i, part in enumerate(parts):
        rates = {f"{RATES}{name}": rate for name, rate in part.adapter.rates.items()}
        for name, value in (part.adapter.learner.parameters() | rates).items():
            found[f"{i}.{name}"] = value.detach().cpu().contiguous()
    return found


def _plan(contents: Contents, draft: Path) -> Plan:
    plans = [
        PartPlan(model=part.adapter.learner.family, inner=part.adapter.inner, weight=part.weight)
        for part in contents.parts
    ]
    return Plan(
        format=FORMAT,
        shape=contents.parts[0].adapter.learner.shape,
        border=contents.border,
        parts=tuple(plans),
        sha256={path.name: checksum(path) for path in sorted(draft.glob("*.safetensors"))},
        pen_steps=contents.pen_steps,
    )


def _json(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _pins() -> str:
    """The versions it was made with; any build of torch will do."""
    torch_version = torch.__version__.partition("+")[0]
    others = {name: metadata.version(name) for name in ("numpy", "pillow", "safetensors")}
    versions = {"metasearch": __version__, "torch": torch_version, **others}
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))
