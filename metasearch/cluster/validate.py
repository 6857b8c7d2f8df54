"""Checking the files of a cluster before anything is started, without one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from metasearch import space
from metasearch.cluster.kubernetes import object_faults
from metasearch.cluster.rayup import rayup_faults
from metasearch.cluster.scripts import LINTERS, Line, image_faults, lint, shell_faults
from metasearch.cluster.templates import MARK
from metasearch.errors import ConfigError

_SECRET = re.compile(r"\b(?<!sha256:)[0-9a-f]{64}\b")
_LARGEST = 200_000  # bytes


@dataclass(frozen=True)
class Verdict:
    """What was found in one file."""

    file: Path
    kind: str  # "kubernetes", "ray up", "shell", "image"; "other" is not looked into
    faults: tuple[str, ...]  # each with its place


def validate(place: Path) -> list[Verdict]:
    """Check a file, or every file of a folder.

    Raises:
        ConfigError: there is nothing to check.
    """
    files = sorted(f for f in place.rglob("*") if f.is_file()) if place.is_dir() else [place]
    found = [_verdict(file) for file in files]
    if all(verdict.kind == "other" for verdict in found):
        raise ConfigError(
            f"{place}: nothing to check here. Give a folder that `metasearch cluster render` "
            "wrote, or a YAML file, a script or a Dockerfile."
        )
    return found


def missing_linters() -> list[str]:
    """Programs that would look deeper, and are not on this machine."""
    return [name for name in LINTERS.values() if shutil.which(name) is None]


def _verdict(file: Path) -> Verdict:
    if not file.is_file():
        raise ConfigError(f"{file}: no such file. Give what `metasearch cluster render` wrote.")
    if file.stat().st_size > _LARGEST:
        raise ConfigError(f"{file}: larger than {_LARGEST:,} bytes; is this a template?")
    text = file.read_text("utf-8", errors="replace")
    kind = _kind(file, text)
    if kind == "other":
        return Verdict(file, kind, ())
    shown = [*_placed(file, _everywhere(text))]
    if kind in {"kubernetes", "ray up"}:
        shown += _of_yaml(file, kind)
    elif kind == "shell":
        shown += _placed(file, [*shell_faults(text), *lint(file, "shell")])
    else:
        shown += _placed(file, [*image_faults(text), *lint(file, "image")])
    return Verdict(file, kind, tuple(dict.fromkeys(shown)))


def _kind(file: Path, text: str) -> str:
    if file.name == "Dockerfile":
        return "image"
    if file.suffix in {".sh", ".sbatch"}:
        return "shell"
    if file.suffix in {".yaml", ".yml"}:
        if re.search(r"^(apiVersion|kind):", text, re.MULTILINE):
            return "kubernetes"
        if re.search(r"^(cluster_name|provider):", text, re.MULTILINE):
            return "ray up"
    return "other"


def _everywhere(text: str) -> Iterable[Line]:
    """What may stand in no file."""
    for number, line in enumerate(text.splitlines(), start=1):
        for mark in MARK.findall(line):
            yield number, f"{mark} is still to be filled in: metasearch cluster render."
        if _SECRET.search(line):
            yield (
                number,
                "this looks like a token. A token belongs into a file of its own, mode 600.",
            )


def _placed(file: Path, lines: Iterable[Line]) -> list[str]:
    return [f"{file}:{number}: {text}" if number else f"{file}: {text}" for number, text in lines]


def _of_yaml(file: Path, kind: str) -> list[str]:
    try:
        document = space.load(file)
    except ConfigError as error:
        return [str(error)]
    look = object_faults if kind == "kubernetes" else rayup_faults
    try:
        wrong = list(look(document.tree))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Rules look at what stands where; what stands there may be anything.
        wrong = [space.Fault((), f"something in it is of another kind than it must be ({error}).")]
    return [str(document.error([fault])) for fault in wrong]
