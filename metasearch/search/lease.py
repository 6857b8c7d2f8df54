"""One writer per run folder: a lease with a fencing number, held by a living process.

Whether a process of this host lives, the kernel knows. One of another host shows that it does by
writing the lease anew; who wants it watches for that, and compares no clock with another.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from metasearch.errors import ConfigError, EnvironmentFault, MetasearchError, RunError
from metasearch.registry import revive
from metasearch.search.files import read_json, write_atomically

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
        """Whether it runs, or ran, on this host."""
        return self.host == socket.gethostname()


def read_holder(folder: Path) -> Holder:
    """The last holder of the lease in `folder`; number 0 if there never was one.

    Raises:
        RunError: the file is damaged.
    """
    data = read_json(folder / FILE)
    try:
        holder: Holder = revive(Holder, data or {"fence": 0}, "lease")
    except ConfigError as fault:
        raise RunError(
            f"{folder / FILE}: damaged ({fault}) If no process searches there, delete the file."
        ) from fault
    return holder


class Lease:
    """The right to write into a run folder, from `acquire` to `release`."""

    def __init__(self, folder: Path, holder: Holder) -> None:
        self._folder = folder
        self._holder = holder
        self._renewed = time.monotonic()
        self._alone = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    @classmethod
    def acquire(cls, folder: Path, *, stale_s: float = STALE_S) -> Lease:
        """Take the lease: at once if its holder died on this host, and if it was on another one,
        once it has been silent for `stale_s` seconds.

        Raises:
            RunError: another process holds it.
            EnvironmentFault: the file system cannot lock files.
        """
        seen = read_holder(folder)
        silent = seen.pid != 0 and not seen.here and _is_silent(folder, seen, stale_s)
        with _alone(folder):
            last = read_holder(folder)
            free = last.pid == 0 or (last.here and not last.alive) or (silent and last == seen)
            if not free:
                raise RunError(_in_use(folder, last))
            mine = Holder(
                fence=last.fence + 1,
                host=socket.gethostname(),
                pid=os.getpid(),
                born=_birth(os.getpid()),
                since=time.time(),
                renewed=time.time(),
                elapsed_s=last.elapsed_s,
            )
            _write(folder, mine)
        return cls(folder, mine)

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
        now = read_holder(self._folder)
        if now.fence != self.fence:
            raise RunError(
                f"{self._folder.parent}: this search was taken over by process {now.pid} on "
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
        with self._alone, _alone(self._folder):
            lost = read_holder(self._folder).fence != self.fence
            if lost or (pid and self._over.is_set()):
                self._over.set()
                return
            now = replace(self._holder, pid=pid, renewed=time.time(), elapsed_s=self.elapsed_s)
            self._holder, self._renewed = now, time.monotonic()
            _write(self._folder, self._holder)


def _is_silent(folder: Path, holder: Holder, seconds: float) -> bool:
    """Whether a lease stays as it is for so long, by the clock of this process."""
    end = time.monotonic() + seconds
    while read_holder(folder) == holder:
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


def _in_use(folder: Path, holder: Holder) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.since))
    stop = f"kill {holder.pid}" if holder.here else f"ssh {holder.host} kill {holder.pid}"
    return (
        f"{folder.parent}: in use by process {holder.pid} on {holder.host!r} since {when}. "
        f"One process at a time may run a search. Wait for it, or stop it with `{stop}`."
    )
