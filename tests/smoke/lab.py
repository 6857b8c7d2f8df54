"""Hosts of our own in namespaces: each with its processes, its network, its name and its home."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.house import ROOT

NET = "10.77.0"
_BORN = """
set -e
ip link set lo up
hostname "$1"
mkdir -p "$2"/home "$2"/tmp "$2"/run
mount --bind "$2"/run /run
mount -t tmpfs -o size=600m tmpfs /dev/shm
mkdir -p /run/shared && mount --bind "$3" /run/shared
mount -t tmpfs tmpfs /tmp
mkdir -p "$3" && mount --bind /run/shared "$3"
mount --bind "$2"/hosts /etc/hosts
mount -t tmpfs tmpfs /sys/fs/cgroup
exec sleep infinity
"""


def missing(*programs: str) -> str:
    """Why no lab can be built here; empty if one can."""
    if os.geteuid() != 0:
        return "NOT RUN: namespaces need root"
    lacking = [p for p in ("ip", "unshare", "nsenter", *programs) if shutil.which(p) is None]
    if lacking:
        return f"NOT RUN: not installed: {', '.join(lacking)}"
    name = f"probe{secrets.token_hex(3)}"
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        return "NOT RUN: no network namespaces here"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


@dataclass
class Host:
    """A machine, as far as its processes can tell."""

    name: str
    ip: str
    folder: Path
    pid: int  # of its first process, seen from outside
    variables: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, **how: object) -> subprocess.Popen[str]:
        """Start a command on it."""
        enter = ["nsenter", "-t", str(self.pid), "-n", "-p", "-m", "-u", "-i", "--"]
        here = {
            "HOME": str(self.folder / "home"), "PATH": f"{_venv()}:/usr/sbin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0",
            "LANG": "C.UTF-8", **self.variables,
        }  # fmt: skip
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **how}
        return subprocess.Popen([*enter, *words], env=here, text=True, cwd=self.folder, **streams)  # type: ignore[call-overload,no-any-return]

    def run(self, *words: str, within_s: float = 120, code: int | None = 0) -> str:
        """Run a command on it to its end; what it printed."""
        process = self.start(*words)
        try:
            said, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            raise AssertionError(f"{words} took more than {within_s} s:\n{said}") from None
        assert code is None or process.returncode == code, f"{words}: {process.returncode}\n{said}"
        return said


def _venv() -> str:
    import sys

    return str(Path(sys.executable).parent)


@contextmanager
def hosts(folder: Path, names: Sequence[str]) -> Iterator[list[Host]]:
    """Machines on a network of their own, which nothing else reaches.

    They share the folder above `folder`; what else is below /tmp is each one's own.
    """
    lab = f"lab{secrets.token_hex(3)}"
    _ip("netns", "add", lab)
    _ip("-n", lab, "link", "add", "br0", "type", "bridge")
    _ip("-n", lab, "link", "set", "br0", "up")
    found, processes = [], []
    table = "127.0.0.1 localhost\n" + "".join(
        f"{NET}.{i} {name}\n" for i, name in enumerate(names, start=1)
    )
    try:
        for i, name in enumerate(names, start=1):
            place = folder / name
            place.mkdir(parents=True)
            (place / "hosts").write_text(table)
            process = subprocess.Popen(
                ["unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child",
                 "--mount-proc", "bash", "-c", _BORN, "_", name, str(place), str(folder.parent)],
            )  # fmt: skip
            processes.append(process)
            host = Host(name, f"{NET}.{i}", place, _child(process.pid))
            _ip("-n", lab, "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0",
                "netns", str(host.pid))  # fmt: skip
            _ip("-n", lab, "link", "set", f"v{i}", "master", "br0", "up")
            host.run("ip", "addr", "add", f"{host.ip}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
            found.append(host)
        yield found
    finally:
        for process in processes:
            process.kill()
            process.wait()
        _ip("netns", "del", lab)


def _child(pid: int) -> int:
    """The first process inside, once it has its name."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if told and Path(f"/proc/{told[0]}/comm").read_text().strip() == "sleep":
            return int(told[0])
        time.sleep(0.02)
    raise AssertionError("a host did not come up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def until(true: object, within_s: float, what: str) -> None:
    """Poll a function until it is so."""
    end = time.monotonic() + within_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.3)
