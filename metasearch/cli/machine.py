"""What `doctor` looks at."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metasearch import __version__
from metasearch.cli.output import result, result_json
from metasearch.cli.places import home, short
from metasearch.errors import EnvironmentFault, MetasearchError
from metasearch.search.addresses import is_address, to_search
from metasearch.search.home import home_of

ENOUGH_DISK = 2 * 2**30
ENOUGH_MEMORY = 2 * 2**30
_NEEDED = ("numpy", "pillow", "pydantic", "pyyaml", "rich", "safetensors", "torch", "typer")
_FOR_SEARCHING = ("matplotlib", "optuna", "ray", "scipy", "tensorboard")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what was looked at."""
    if as_json:
        result_json([vars(finding) for finding in findings])
        return
    for finding in findings:
        line = f"{finding.verdict:<4}  {finding.what}: {finding.found}"
        result(f"{line}\n      {finding.advice}" if finding.advice else line)


def examine(address: str | None = None) -> list[Finding]:
    """Look at everything; what cannot be looked at is a finding, too."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        _python, _packages, _processors, _memory, _runs, _torch,
    ]  # fmt: skip
    findings = [finding for look in looks for finding in look()]
    if address is not None:
        findings.append(_cluster(address))
    return findings


def examine_folder(folder: Path, *, mend: bool) -> list[Finding]:
    """Whether a run folder is whole; with `mend`, after it was mended as far as possible.

    Raises:
        RunError: it is to be mended and runs.
    """
    from metasearch.search.doctor import examine_run, mend_run

    wounds = mend_run(folder) if mend else examine_run(folder)
    if not wounds:
        return [Finding("run folder", "ok", f"{short(folder)} is whole")]
    return [
        Finding(
            wound.what,
            "fail",
            wound.found,
            f"{wound.advice}. Mend it with --mend." if wound.mend else wound.advice,
        )
        for wound in wounds
    ]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if fits else "Use Python 3.11, 3.12 or 3.13; nodes of a cluster need the same."
    yield Finding("Python", "ok" if fits else "fail", f"{version} on {platform.machine()}", advice)
    yield Finding("metasearch", "ok", __version__)


def _packages() -> Iterator[Finding]:
    for name in _NEEDED:
        version = _version(name)
        advice = "" if version else "Install the package again: pip install metasearch"
        yield Finding(name, "ok" if version else "fail", version or "missing", advice)
    for name in _FOR_SEARCHING:
        version = _version(name)
        advice = "" if version else "Searching needs it: pip install 'metasearch[search]'"
        yield Finding(name, "ok" if version else "warn", version or "missing", advice)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processors() -> Iterator[Finding]:
    there = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else there
    yield Finding("processors", "ok", f"{allowed} of {there} may be used")


def _memory() -> Iterator[Finding]:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not every system tells
        return
    fits = free >= ENOUGH_MEMORY
    advice = "" if fits else "Lower --max-concurrent: a small trial takes about 0.5 GB."
    yield Finding("memory", "ok" if fits else "warn", f"{free / 2**30:.1f} GB free", advice)


def _runs() -> Iterator[Finding]:
    if is_address(home()):
        yield _bucket(home())
        return
    folder = home()
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            _lock(file.fileno())
    except OSError as error:
        advice = "Set METASEARCH_HOME to a folder that can be written and locked."
        yield Finding("runs", "fail", f"{short(folder)}: {error.strerror}", advice)
        return
    yield Finding("runs", "ok", f"{short(folder)} can be written and locked")
    free = shutil.disk_usage(existing).free
    fits = free >= ENOUGH_DISK
    advice = "" if fits else "Set METASEARCH_HOME to a larger disk."
    yield Finding("disk", "ok" if fits else "warn", f"{free / 2**30:.0f} GB free", advice)


def _bucket(place: Path) -> Finding:
    kept = home_of(to_search(place))
    try:
        kept.prove()
    except EnvironmentFault as fault:
        return Finding("runs", "fail", str(fault))
    return Finding("runs", "ok", f"{kept.where} can be written, on conditions, too")


def _lock(handle: int) -> None:
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding("GPU", "ok", ", ".join(names))
        return
    built = torch.version.cuda
    advice = "torch is built for a GPU, but finds none; see `nvidia-smi`." if built else ""
    yield Finding("GPU", "warn" if built else "ok", "none; trials run on processors", advice)


def _cluster(address: str) -> Finding:
    from metasearch.search.config import SearchConfig
    from metasearch.search.run import make_backend

    try:
        with (
            tempfile.TemporaryDirectory() as scratch,
            make_backend(SearchConfig(), Path(scratch) / "ray", address=address),
        ):
            return Finding("cluster", "ok", f"{address} answers, and a trial fits")
    except (MetasearchError, ImportError) as error:
        return Finding("cluster", "fail", f"{address}: {error}")
