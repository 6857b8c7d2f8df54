"""A trip wire between two writes: ends this process where a file is about to be changed.

It hangs on Python's own audit events and on `os.fsync`, so the product knows nothing of it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

WHAT = {"os.rename": "rename", "os.remove": "remove", "os.mkdir": "mkdir", "os.rmdir": "rmdir"}
_HALF = b'{"step":1'


class Wire:
    """Notes each place that is passed, and ends the process at one of them.

    A place is what happens to which kind of file, such as "rename ledger/N.done.json"; numbers are
    left out. A name with "torn " before it also leaves the file half written, as a power cut would.
    """

    def __init__(self, root: Path, deadly: str = "", nth: int = 1) -> None:
        """Look at what lies below `root`; end at the n-th passing of the place `deadly`."""
        self.passed: Counter[str] = Counter()
        self._root = str(root) + os.sep
        self._torn = deadly.startswith("torn ")
        self._deadly, self._nth = deadly.removeprefix("torn "), nth
        self._sync = os.fsync

    def hang(self) -> None:
        """From here on. It cannot be taken down again."""
        os.fsync = self._synced
        sys.addaudithook(self._hear)

    def _synced(self, handle: int) -> None:
        self._pass("fsync", _path_of(handle))
        self._sync(handle)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str) and _writes(args):
            self._pass("add to" if "a" in str(args[1]) else "open", args[0])
        elif event in WHAT:
            path = os.fsdecode(args[1] if event == "os.rename" else args[0])
            folder = args[-1]  # a handle, where a path is relative to it
            if not path.startswith(os.sep) and isinstance(folder, int) and folder >= 0:
                path = _path_of(folder) + os.sep + path
            self._pass(WHAT[event], path)

    def _pass(self, what: str, path: str) -> None:
        if not path.startswith(self._root):
            return
        place = f"{what} {kind_of(path.removeprefix(self._root))}"
        self.passed[place] += 1
        if place == self._deadly and self.passed[place] == self._nth:
            if self._torn:
                _tear(what, path)
            os.kill(os.getpid(), signal.SIGKILL)


def kind_of(path: str) -> str:
    """The name of a file without its numbers, its machine and its process.

    >>> kind_of("ledger/.0003.done.json.4711"), kind_of("trials/0012-vae/checkpoints/300/x.json")
    ('ledger/.N.done.json', 'trials/N-vae/checkpoints/N/x.json')
    """
    bare = re.sub(r"\.\d+$", "", path).replace(socket.gethostname(), "host")
    return re.sub(r"\d+", "N", bare)


def _path_of(handle: int) -> str:
    return str(Path(f"/proc/self/fd/{handle}").readlink())


def tearable(place: str) -> bool:
    """Whether a file can be half written there."""
    return place.startswith(("add to ", "fsync ")) and "." in place


def _tear(what: str, path: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    size = os.fstat(handle).st_size
    if what == "fsync":
        os.ftruncate(handle, size // 2)
    else:
        os.pwrite(handle, _HALF, size)
    os.close(handle)


def _writes(args: tuple[Any, ...]) -> bool:
    mode, flags = args[1], args[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
