"""What a process may not do while it reads what a stranger made."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = {
    "pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
    "subprocess.Popen", "marshal.loads", "ctypes.dlopen", "code.__new__", "socket.connect", "socket.bind",
}  # fmt: skip
CHANGES = {
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown",
    "os.truncate", "shutil.rmtree", "shutil.move", "shutil.copyfile",
}  # fmt: skip


class Watch:
    """An audit hook that notes what was run, and what was changed outside of some folders.

    A hook cannot be taken off again; it looks only while it is `on`.
    """

    def __init__(self, *inside: Path) -> None:
        """Writing is allowed below `inside`."""
        self._inside = [str(folder.resolve()) for folder in inside]
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in RUNS and not _of_python(event, args):
            self.seen.append(f"{event} {str(args)[:200]}")
        elif event == "open" and _writes(args):
            self._note(event, args[0])
        elif event in CHANGES:
            for place in args[:2]:
                self._note(event, place)

    def _note(self, event: str, place: Any) -> None:
        if not isinstance(place, str | bytes | os.PathLike):
            return
        path = os.path.realpath(os.fsdecode(place))
        if path.startswith("/dev/") or "__pycache__" in path:
            return
        if not any(path == one or path.startswith(one + os.sep) for one in self._inside):
            self.seen.append(f"{event} {path}")


def _of_python(event: str, args: tuple[Any, ...]) -> bool:
    """Whether it is how Python imports a module of ours, asks what machine this is, or what a linter
    says.
    """
    if event == "marshal.loads" or event == "code.__new__":
        return bool(sys._getframe(2).f_globals.get("__name__", "").startswith("importlib")) or "importlib" in sys._getframe(2).f_code.co_filename  # fmt: skip
    if event == "ctypes.dlopen":
        return args[0] is None or "site-packages" in str(args[0]) or str(args[0]).startswith("lib")
    if event == "socket.bind":  # Ray asks whether there is IPv6
        return args[1][0] == "::1"
    if event == "subprocess.Popen":
        return "uname" in str(args) or _reads_alone(args[1])
    return False


def _reads_alone(command: Any) -> bool:
    """Whether a program looks at a script without running any of it, as `cluster validate` has it."""
    program, *words = map(str, command)
    return [program, *words] == ["bash", "-n"] or Path(program).name in {"shellcheck", "hadolint"}


def _writes(args: tuple[Any, ...]) -> bool:
    mode, flags = args[1], args[2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


Probe = Callable[[], None]
