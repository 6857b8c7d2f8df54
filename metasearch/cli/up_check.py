"""What `cluster up-check` looks at: a cluster that is up, before a search is given to it."""

from __future__ import annotations

import importlib.metadata
import platform
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metasearch.cli.machine import Finding
from metasearch.errors import EnvironmentFault
from metasearch.folders import make_private
from metasearch.search.addresses import address_of, is_address, to_search
from metasearch.search.home import home_of

if TYPE_CHECKING:
    from metasearch.search.ray_link import Machine

_LOOK_S = 1.0
_ALIKE = ("metasearch", "torch", "optuna", "ray", "python")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def look(
    address: str,
    *,
    nodes: int,
    within_s: float,
    runs: Path | None,
    even_open: bool,
    tell: Callable[[str], None],
) -> list[Finding]:
    """Join a cluster, wait until so many machines can run trials, and look at each.

    That it takes anybody is a fault unless `even_open`.

    Raises:
        EnvironmentFault: no cluster answers, or not in time.
    """
    from metasearch.search.backend import Resources
    from metasearch.search.ray_link import connect, dashboard, on_each, takes_strangers

    end = time.monotonic() + within_s
    _wait_for_head(address, end, tell)
    with connect(address, Resources(), even_open=True), _mark(runs) as mark:
        found = _wait_for(nodes, end, tell)
        told = on_each(describe, str(mark) if mark else "")
        token = _token(strangers=takes_strangers(), even_open=even_open)
        shown = dashboard()
    return [
        _machines(found, nodes),
        *_versions(found, told),
        *_shared(runs, found, told),
        token,
        _dashboard(shown),
    ]


def describe(mark: str) -> dict[str, Any]:
    """What a machine of a cluster says of itself: versions, and whether it sees a file."""
    found: dict[str, Any] = {"host": socket.gethostname(), "python": platform.python_version()}
    for name in ("metasearch", "torch", "optuna", "ray"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return {**found, "sees": not mark or _sees(Path(mark))}


def _sees(mark: Path) -> bool:
    """Whether this machine has a file, or may write into a bucket."""
    if not is_address(mark):
        return mark.exists()
    try:
        home_of(to_search(mark)).prove()
    except (EnvironmentFault, ImportError):
        return False
    return True


class _mark:  # noqa: N801 - read as a word of the `with`
    """A file in the folder of runs, for as long as others look for it."""

    def __init__(self, runs: Path | None) -> None:
        self._runs = runs
        self._file = None
        if runs and not is_address(runs):
            self._file = runs.resolve() / f".seen-{secrets.token_hex(4)}"

    def __enter__(self) -> Path | None:
        if self._file:
            make_private(self._file.parent)
            self._file.touch()
        return self._file or self._runs

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.unlink(missing_ok=True)


def _wait_for_head(address: str, end: float, tell: Callable[[str], None]) -> None:
    from metasearch.search.backend import knock

    told = False
    while True:
        try:
            return knock(address)
        except EnvironmentFault:
            if "://" in address or time.monotonic() >= end:
                raise
        if not told:
            tell(f"waiting for {address}")
        told = True
        time.sleep(_LOOK_S)


def _wait_for(nodes: int, end: float, tell: Callable[[str], None]) -> Sequence[Machine]:
    from metasearch.search.ray_link import machines

    told = -1
    while True:
        able = [machine for machine in machines() if machine.cpus >= 1]
        if len(able) >= nodes or time.monotonic() >= end:
            return able
        if len(able) != told:
            tell(f"{len(able)} of {nodes} machines are up")
        told = len(able)
        time.sleep(_LOOK_S)


def _machines(found: Sequence[Machine], nodes: int) -> Finding:
    each = ", ".join(f"{m.host} ({m.cpus:g} CPUs, {m.gpus:g} {m.card or 'GPU'})" for m in found)
    if len(found) >= nodes:
        return Finding("machines", "ok", each)
    advice = "Look at Ray's logs on the others, or wait longer by --within."
    return Finding("machines", "fail", f"{len(found)} of {nodes} are up: {each or 'none'}", advice)


def _versions(found: Sequence[Machine], told: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for name in _ALIKE:
        by: dict[str, list[str]] = {}
        for one in told:
            by.setdefault(one[name], []).append(one["host"])
        mine = describe("")[name]
        if set(by) <= {mine}:
            continue
        each = "; ".join(f"{what} on {', '.join(sorted(hosts))}" for what, hosts in by.items())
        advice = f"Here it is {mine}. Install the same everywhere, or scores cannot be compared."
        yield Finding(name, "fail", each, advice)
    if len(told) < len(found):
        yield Finding("answers", "fail", f"{len(told)} of {len(found)} machines", "Try again.")


def _shared(
    runs: Path | None, found: Sequence[Machine], told: Sequence[Mapping[str, Any]]
) -> Iterator[Finding]:
    blind = sorted(one["host"] for one in told if not one["sees"])
    if runs and blind:
        advice = "Give --out a folder on a disk that all machines share, or a bucket that each may"
        advice += " write into, with the extra `s3` and its credentials on all of them."
        yield Finding("folder of runs", "fail", f"{runs} is another on {', '.join(blind)}", advice)
    elif runs:
        place = address_of(runs) or str(runs)
        yield Finding("folder of runs", "ok", f"{place} is the same on {len(found)} machines")


def _token(*, strangers: bool | None, even_open: bool) -> Finding:
    if strangers is False:
        return Finding("token", "ok", "who shows none is refused")
    if strangers is None:
        advice = "Try again; a process without a token got no answer, neither yes nor no."
        return Finding("token", "warn", "whether the cluster asks for one is not known", advice)
    advice = "Start it with a token: `metasearch cluster render` writes how. Searches join it only"
    advice += " with --i-know-this-is-open."
    verdict: Literal["warn", "fail"] = "warn" if even_open else "fail"
    return Finding("token", verdict, "the cluster takes anybody who reaches it", advice)


def _dashboard(shown: str) -> Finding:
    host = shown.rpartition(":")[0].rpartition("/")[2].strip("[]")
    if not shown or host in _LOOPBACK:
        return Finding("dashboard", "ok", shown or "none")
    advice = "Start the head with --dashboard-host=127.0.0.1, and look through ssh -L."
    return Finding("dashboard", "fail", f"{shown} listens beyond its machine", advice)
