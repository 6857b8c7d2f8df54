"""One writer per run folder: a lease with a fencing number, held by a living process.

Whether a process of this host lives, the kernel knows. One of another host, or of another container
on it, shows that it does by writing the lease anew; who wants it watches for that, and compares no
clock with another. Where the lease is, in a file or in a bucket, a `Slot` knows; it is replaced
only as it was seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from metasearch.errors import ConfigError, EnvironmentFault, MetasearchError, RunError
from metasearch.registry import revive
from metasearch.search.files import write_atomically

FILE = "lease.json"
BEAT_S = 1.0  # the holder writes the lease anew so often
STALE_S = 60.0  # a lease of another host that nobody wrote for so long is free
_GONE_S = 300.0  # by the wall clock; for telling alone
_LOOK_S = 0.2


@dataclass(frozen=True)
class Holder:
    """Who may write, and since when. `pid` is 0 when nobody does."""

    fence: int  # grows by one with every new holder, and is never given out twice
    host: str = ""
    pid: int = 0
    born: str = ""  # when the process started, so that a reused pid is not mistaken for it
    since: float = 0.0  # unix time
    renewed: float = 0.0  # unix time at which this was written
    elapsed_s: float = 0.0  # the clock of the search then, over all its sittings
    pids: str = ""  # whose process numbers these are; empty if that was not written down

    @property
    def clock_s(self) -> float:
        """The clock of the search now, or when the holder was last heard of."""
        return self.elapsed_s + (max(0.0, time.time() - self.renewed) if self.alive else 0.0)

    @property
    def alive(self) -> bool:
        """Whether the holder still runs; of one on another host, whether it was heard of lately."""
        if self.pid and self.here:
            return _birth(self.pid) == self.born
        return self.pid != 0 and time.time() - self.renewed < _GONE_S

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, where this process sees it: on this host, since it was started,
        and not in another container.
        """
        return self.host == socket.gethostname() and self.pids in {"", _pids()}

    @property
    def stop(self) -> str:
        """What to type to stop it, and where."""
        if self.host != socket.gethostname():
            return f"ssh {self.host} kill {self.pid}"
        return f"kill {self.pid}" + ("" if self.here else " (in its container)")


def read_holder(folder: Path) -> Holder:
    """The last holder of the lease in `folder`; number 0 if there never was one.

    Raises:
        RunError: the file is damaged.
    """
    try:
        data = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return Holder(0)
    return revive_holder(data, str(folder / FILE))


def revive_holder(data: bytes, where: str) -> Holder:
    """A holder from the bytes of a lease, which is at `where`.

    Raises:
        RunError: it is damaged.
    """
    try:
        holder: Holder = revive(Holder, json.loads(data), "lease")
    except (ConfigError, ValueError) as fault:
        raise RunError(
            f"{where}: damaged ({fault}) If no process searches there, delete the file."
        ) from fault
    return holder


class Slot(Protocol):
    """Where a lease is."""

    where: str  # the run that it is of, for messages

    def read(self) -> Holder:
        """Who holds it; number 0 if nobody ever did.

        Raises:
            RunError: it is damaged.
        """
        ...

    def swap(self, may: Callable[[Holder], bool], mine: Holder) -> bool:
        """Put another holder there if the last one may be replaced, in one step; was it done?"""
        ...


class OnDisk:
    """A lease in a file, under a lock of the file system; see `Slot`."""

    def __init__(self, folder: Path) -> None:
        """The file is in `folder`."""
        self._folder = folder
        self.where = str(folder.parent)

    def read(self) -> Holder:
        """See `Slot`."""
        return read_holder(self._folder)

    def swap(self, may: Callable[[Holder], bool], mine: Holder) -> bool:
        """See `Slot`.

        Raises:
            EnvironmentFault: the file system cannot lock files.
        """
        with _alone(self._folder):
            if not may(read_holder(self._folder)):
                return False
            _write(self._folder, mine)
        return True


class Lease:
    """The right to write into a run folder, from `acquire` to `release`."""

    def __init__(self, slot: Slot, holder: Holder) -> None:
        self._slot = slot
        self._holder = holder
        self._renewed = time.monotonic()
        self._alone = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    @classmethod
    def acquire(cls, slot: Slot, *, stale_s: float = STALE_S) -> Lease:
        """Take the lease: at once if its holder died on this host, and if it was on another one
        or in another container, once it has been silent for `stale_s` seconds.

        Raises:
            RunError: another process holds it.
            EnvironmentFault: the file system cannot lock files.
        """
        seen = slot.read()
        silent = seen.pid != 0 and not seen.here and _is_silent(slot, seen, stale_s)
        free = seen.pid == 0 or (seen.here and not seen.alive) or silent
        mine = Holder(
            fence=seen.fence + 1,
            host=socket.gethostname(),
            pid=os.getpid(),
            born=_birth(os.getpid()),
            pids=_pids(),
            since=time.time(),
            renewed=time.time(),
            elapsed_s=seen.elapsed_s,
        )
        if not free or not slot.swap(lambda last: last == seen, mine):
            raise RunError(_in_use(slot))
        return cls(slot, mine)

    @property
    def fence(self) -> int:
        """The number of this lease."""
        return self._holder.fence

    @property
    def elapsed_s(self) -> float:
        """The clock of the search: seconds over all sittings, this one included."""
        return self._holder.elapsed_s + time.monotonic() - self._renewed

    def check(self) -> None:
        """Make sure nobody took the lease over.

        Raises:
            RunError: somebody did; nothing may be written any more.
        """
        now = self._slot.read()
        if now.fence != self.fence:
            raise RunError(
                f"{self._slot.where}: this search was taken over by process {now.pid} on "
                f"{now.host!r} (lease {now.fence}, ours was {self.fence}). One process may write "
                "into a run folder; this one stops here, and nothing that finished is lost."
            )

    def release(self) -> None:
        """Let others write. Does nothing if the lease was lost, or cannot be written any more."""
        self._over.set()
        with contextlib.suppress(OSError):  # the next one finds that this process is gone
            self._store(pid=0)

    def _beat(self) -> None:
        """Show that this process lives, and write the clock down."""
        while not self._over.wait(BEAT_S):
            # What the disk lacks, those learn who have something to write.
            with contextlib.suppress(OSError, MetasearchError):
                self._store(pid=self._holder.pid)

    def _store(self, pid: int) -> None:
        with self._alone:
            if pid and self._over.is_set():
                return
            now = replace(self._holder, pid=pid, renewed=time.time(), elapsed_s=self.elapsed_s)
            if self._slot.swap(lambda last: last.fence == self.fence, now):
                self._holder, self._renewed = now, time.monotonic()
            elif self._slot.read().fence != self.fence:  # lost
                self._over.set()


def _is_silent(slot: Slot, holder: Holder, seconds: float) -> bool:
    """Whether a lease stays as it is for so long, by the clock of this process."""
    end = time.monotonic() + seconds
    while slot.read() == holder:
        if time.monotonic() >= end:
            return True
        time.sleep(_LOOK_S)
    return False


def _write(folder: Path, holder: Holder) -> None:
    write_atomically(folder / FILE, json.dumps(asdict(holder)), sync=False)


def _birth(pid: int) -> str:
    """What tells a process from a later one with the same pid; "gone" if it does not run."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "foreign"
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():  # no procfs, as on macOS: the pid alone must do
        return "unknown"
    state, *fields = stat.read_text().rpartition(")")[2].split()
    return "gone" if state in {"Z", "X"} else fields[18]  # 22nd field: ticks after boot


@functools.cache
def _pids() -> str:
    """What tells the process numbers seen here from those of another machine or container that has
    the same name: the kernel's start, and the namespace. Empty without a procfs.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time read and replace the lease."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as fault:
            raise EnvironmentFault(
                f"{folder}: the file system cannot lock files ({fault}). A run folder must be on a "
                "disk with POSIX locks; pick another place with --out."
            ) from fault
        yield


def _in_use(slot: Slot) -> str:
    holder = slot.read()
    if not holder.pid:
        return f"{slot.where}: was in use, and was let go just now. Give the same command again."
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    return (
        f"{slot.where}: in use by process {holder.pid} on {holder.host!r} since {when}. "
        f"One process at a time may run a search. Wait for it, or stop it: {holder.stop}"
    )
