"""Writing a bundle: the recipe, the weights, the evidence, and nothing that runs code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from metasearch.bundle.base import FORMAT, Part
from metasearch.bundle.card import model_card
from metasearch.registry import to_data
from metasearch.space import dump
from metasearch.trial.config import TrialConfig

PINNED = ("metasearch", "numpy", "pillow", "safetensors", "torch")


@dataclass(frozen=True)
class Contents:
    """All that goes into a bundle."""

    parts: Sequence[Part]
    config: TrialConfig
    report: Mapping[str, Any]  # scores per split with intervals, baselines, per task
    provenance: Mapping[str, Any]  # versions, fingerprints, seeds, search, trial, when
    border: float  # median of the outermost pixels of real images: -1 where ink is light
    features: Path | None  # the frozen features that the scores were computed in
    samples: Image.Image  # support | before | after on test tasks


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
    weights = {
        f"{i}.{name}": value.detach().cpu().contiguous()
        for i, part in enumerate(contents.parts)
        for name, value in part.learner.parameters().items()
    }
    save_file(weights, draft / "model.safetensors", {"format": str(FORMAT)})
    if contents.features is not None:
        shutil.copyfile(contents.features, draft / "features.safetensors")
    _write_json(draft / "adaptation.json", _adaptation(contents, draft))
    _write_json(draft / "report.json", contents.report)
    _write_json(draft / "provenance.json", contents.provenance)
    (draft / "config.yaml").write_text(dump(to_data(contents.config)), encoding="utf-8")
    (draft / "constraints.txt").write_text(_pins())
    contents.samples.save(draft / "samples.png")
    card = model_card(contents.config, contents.report, contents.provenance, folder.name)
    (draft / "README.md").write_text(card, encoding="utf-8")
    for path in draft.iterdir():
        path.chmod(0o666 & ~_umask())  # safetensors writes 0600; colleagues share disks
    draft.replace(folder)
    return folder


def _adaptation(contents: Contents, draft: Path) -> dict[str, Any]:
    """What `load_bundle` needs beside the weights, as plain data."""
    sums = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(draft.glob("*.safetensors"))
    }
    return {
        "format": FORMAT,
        "shape": list(contents.parts[0].learner.shape),
        "border": contents.border,
        "parts": [
            {
                "model": to_data(part.learner.family),
                "inner": to_data(part.inner),
                "weight": part.weight,
                "adapts": "all",
            }
            for part in contents.parts
        ],
        "sha256": sums,
    }


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def _pins() -> str:
    versions = {name: metadata.version(name) for name in PINNED[1:]}
    versions["torch"] = torch.__version__.split("+")[0]  # any build of it will do
    return "".join(f"{name}=={version}\n" for name, version in versions.items())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
