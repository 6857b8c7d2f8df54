"""Snapshots on disk: tensors as safetensors, the rest as JSON, a manifest with checksums last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from metasearch.errors import RunError

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Frozen:
    """A moment of a trial as plain values: named groups of tensors, and numbers."""

    tensors: Mapping[str, Mapping[str, Tensor]]  # file stem -> name -> tensor, copied
    state: Mapping[str, Any]  # JSON-like

    def save(self, folder: Path) -> None:
        """Write into `folder`, which is made; it counts only once the manifest is there."""
        folder.mkdir(parents=True, exist_ok=True)
        for stem, group in self.tensors.items():
            path = folder / f"{stem}.safetensors"
            save_file({k: v.detach().cpu().contiguous() for k, v in group.items()}, path)
            path.chmod(0o666 & ~_umask())  # safetensors writes 0600; colleagues share disks
        (folder / "state.json").write_text(json.dumps(self.state, indent=1))
        files = sorted(p for p in folder.iterdir() if p.name != MANIFEST)
        sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        for path in files:
            _sync(path)
        waiting = folder / f"{MANIFEST}.part"
        waiting.write_text(json.dumps({"format": FORMAT, "files": sums}, indent=1))
        _sync(waiting)
        waiting.replace(folder / MANIFEST)

    @staticmethod
    def load(folder: Path, device: str | torch.device = "cpu") -> Frozen:
        """Read what `save` wrote.

        Raises:
            RunError: a part is missing, was changed, or is of another format.
        """
        names = verify(folder)
        try:
            tensors = {
                Path(name).stem: load_file(folder / name, device=str(device))
                for name in names
                if name.endswith(".safetensors")
            }
            state = json.loads((folder / "state.json").read_text())
        except (OSError, ValueError, SafetensorError) as error:
            raise RunError(f"{folder}: the checkpoint cannot be read ({error}).") from error
        return Frozen(tensors, state)


def verify(folder: Path) -> list[str]:
    """The files of a whole checkpoint.

    Raises:
        RunError: the manifest is missing or a file does not match it.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        sums = dict(manifest["files"])
        known = manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: not a whole checkpoint (its {MANIFEST} is missing).") from error
    if not known:
        raise RunError(
            f"{folder}: checkpoint format {manifest['format']!r}; this version reads {FORMAT}."
        )
    for name, want in sums.items():
        path = folder / Path(name).name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != want:
            raise RunError(f"{path}: missing or changed since it was written.")
    return [Path(name).name for name in sums]


def arrays_to_tensors(state: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """A selector's memory as tensors (copied)."""
    return {name: torch.from_numpy(np.array(a)) for name, a in state.items()}


def tensors_to_arrays(state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The way back."""
    return {name: t.cpu().numpy() for name, t in state.items()}


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
