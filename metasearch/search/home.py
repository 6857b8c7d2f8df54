"""Where a run is kept: in its folder, or in a bucket of which the folder is a copy.

The bucket decides. A copy is made equal to it when it is opened, and what is written into a copy
counts once the bucket has it. What is the same is told by tags, never by clocks.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metasearch.errors import EnvironmentFault, RunError
from metasearch.folders import make_private
from metasearch.search.addresses import LOOKING, address_of, copy_at, is_address, make_room
from metasearch.search.bucket import Bucket, Entry
from metasearch.search.files import read_json, see_room, to_json, write_atomically
from metasearch.search.lease import FILE, Holder, OnDisk, Slot, revive_holder

Known = list[Any]
CHECKPOINTS = "checkpoints"  # of a trial: kept by their worker, and fetched when they are needed
_LEASE = f"ledger/{FILE}"  # is never kept by a copy: a `Slot` replaces it
_INDEX = ".copy.json"  # what of a copy was equal to the bucket: name -> tag, bytes, time of change
_LAST = ("report.json", "manifest.json")  # say that the rest is there: come last, and go first
_AT_ONCE = 8  # objects on their way


class Home:
    """A folder that is all there is: on this machine's disk, or on one that machines share."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self.folder = folder

    @property
    def where(self) -> str:
        """What a person types for it, and what other machines are told."""
        return str(self.folder.resolve())

    def names(self) -> set[str]:
        """What lies directly in it."""
        return {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()

    def slot(self) -> Slot:
        """Where its lease is; the folder for it is made, for this user alone."""
        make_private(self.folder)
        (self.folder / "ledger").mkdir(exist_ok=True)
        return OnDisk(self.folder / "ledger")

    def prove(self) -> None:
        """See that it can be written, as far as that is not seen anyway."""

    def pull(self) -> None:
        """Make the folder equal to what is kept."""

    def push(self, *parts: str) -> None:
        """Keep all that was changed, or what of it is below these names."""

    def fetch(self, name: str) -> None:
        """Have one file as it is kept, or not at all."""

    def keep(self, name: str, *, new: bool = False) -> None:
        """Keep one file, at once; if it is `new`, nobody may have written it before.

        Raises:
            RunError: somebody has.
        """


class Copy(Home):
    """A folder that stands for one in a bucket; every method may raise StoreFault."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        super().__init__(folder)
        make_room()
        self._address = address_of(folder)
        name, _, key = self._address.removeprefix("s3://").partition("/")
        self._bucket, self._key = Bucket(name), f"{key}/" if key else ""
        self._known: dict[str, Known] | None = None
        self._lock = threading.RLock()

    @property
    def where(self) -> str:
        """Its address."""
        return self._address

    def names(self) -> set[str]:
        """What lies directly below its address; not what `prove` left when it was cut off."""
        return {name for name in self._bucket.names(self._key) if not name.startswith(".")}

    def slot(self) -> Slot:
        """A lease in the bucket, and what was last seen of it here; raises what `prove` does."""
        self.prove()
        (self.folder / "ledger").mkdir(parents=True, exist_ok=True)
        return _InBucket(self._bucket, self._key + _LEASE, self.folder / "ledger")

    def prove(self) -> None:
        """See that the bucket can be written, and that it minds conditions.

        Raises:
            EnvironmentFault: it overwrites what it was told not to.
        """
        key = f"{self._key}.proof-{secrets.token_hex(8)}"
        first, second = (self._bucket.swap(key, text) for text in (b"1", b"2"))
        self._bucket.drop([key])
        if first is None or second is not None:
            raise EnvironmentFault(
                f"{self._address}: this store overwrites an object although it was told not to, so "
                "two searches could write into one run. Use one with conditional writes, as S3 has."
            )

    def pull(self) -> None:
        """Make the copy equal to the bucket, but for checkpoints and hidden files."""
        with self._alone():
            there = {n: e for n, e in self._bucket.entries(self._key).items() if self._counts(n)}
            known, here = self._index(), self._files()
            stale = [n for n, e in there.items() if known.get(n) != [e.tag, *here.get(n, ())]]
            see_room(self.folder, sum(there[name].size for name in stale))
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                fetched = dict(pool.map(lambda name: self._fetch(name, there[name]), stale))
            for name in here.keys() - there.keys():
                (self.folder / name).unlink(missing_ok=True)
            self._known = {n: known[n] for n in there if n in known} | fetched
            self._known.pop(_LEASE, None)
            self._save()
            if not there:
                shutil.rmtree(self.folder, ignore_errors=True)
                self._known = {}

    def push(self, *parts: str) -> None:
        """Write what was changed into the bucket, and delete there what was deleted here."""
        with self._alone():
            known, here = self._index(), self._files(*parts)
            changed = [n for n, stat in here.items() if known.get(n, [None])[1:] != stat]
            for last in (False, True):
                some = [n for n in changed if n.endswith(_LAST) == last]
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    self._index().update(pool.map(self._put, some))
            below = tuple(f"{part}/" for part in parts) or ("",)
            mine = (n for n in self._index() if n.startswith(below) or n in parts)
            gone = [n for n in mine if n not in here]
            gone.sort(key=lambda name: not name.endswith(_LAST))
            self._bucket.drop(self._key + name for name in gone)
            for name in gone:
                del self._index()[name]
            if not parts:  # it is long; without it, all is looked at again
                self._save()

    def keep(self, name: str, *, new: bool = False) -> None:
        """Write one file into the bucket, whole."""
        with self._lock:
            if not new:
                self._index().update([self._put(name)])
                return
            stat = _stat(self.folder / name)
            tag = self._bucket.swap(self._key + name, (self.folder / name).read_bytes())
            if tag is None:
                raise RunError(
                    f"{self._address}/{name}: another search wrote this. One process may write "
                    "into a run; this one stops here, and nothing that finished is lost."
                )
            self._index()[name] = [tag, *stat]

    def fetch(self, name: str) -> None:
        """Have one file as it is in the bucket, or not at all."""
        if found := self._bucket.get(self._key + name):
            self._write(name, found[0])
        else:
            (self.folder / name).unlink(missing_ok=True)

    def _put(self, name: str) -> tuple[str, Known]:
        stat = _stat(self.folder / name)  # before it is read: what is written since counts as new
        return name, [self._bucket.put(self._key + name, (self.folder / name).read_bytes()), *stat]

    def _fetch(self, name: str, entry: Entry) -> tuple[str, Known]:
        # One that was deleted since it was listed is empty here until the next pull.
        data, tag = self._bucket.get(self._key + name) or (b"", entry.tag)
        self._write(name, data)
        return name, [tag, *_stat(self.folder / name)]

    def _write(self, name: str, data: bytes) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / name, data, sync=False)

    def _files(self, *parts: str) -> dict[str, Known]:
        """Every file here that counts, by name, with its size and time of change."""
        found = {}
        for top in [self.folder / part for part in parts] or [self.folder]:
            for place, folders, files in os.walk(top):
                folders[:] = [f for f in folders if self._counts(f)]
                for file in files:
                    path = Path(place, file)
                    name = path.relative_to(self.folder).as_posix()
                    if self._counts(name) and name != _LEASE:
                        with contextlib.suppress(FileNotFoundError):
                            found[name] = _stat(path)
        return found

    @staticmethod
    def _counts(name: str) -> bool:
        """Whether a name is that of a file we keep; none that we do leads out of the folder."""
        return all(
            part and part[0] != "." and part != CHECKPOINTS and "\0" not in part
            for part in name.split("/")
        )

    def _index(self) -> dict[str, Known]:
        if self._known is None:
            with contextlib.suppress(RunError):  # torn: all is fetched again
                self._known = dict(read_json(self.folder / _INDEX) or {})
        if self._known is None:
            self._known = {}
        return self._known

    def _save(self) -> None:
        write_atomically(self.folder / _INDEX, to_json(self._index()), sync=False)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process, and one thread, at a time."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, self.folder.with_name(f".{self.folder.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.folder.mkdir(exist_ok=True)
            yield


class _InBucket:
    """A lease that is one object, replaced only as it was seen; see `lease.Slot`."""

    def __init__(self, bucket: Bucket, key: str, seen: Path) -> None:
        """`seen` is the folder where what was last seen is left for those who only look."""
        self._bucket, self._key, self._seen = bucket, key, seen
        self.where = f"s3://{bucket.name}/{key.removesuffix(f'/{_LEASE}')}"

    def read(self) -> Holder:
        return self._read()[0]

    def swap(self, may: Callable[[Holder], bool], mine: Holder) -> bool:
        last, tag = self._read()
        text = json.dumps(asdict(mine))
        if not may(last) or self._bucket.swap(self._key, text.encode(), tag) is None:
            return False
        write_atomically(self._seen / FILE, text, sync=False)
        return True

    def _read(self) -> tuple[Holder, str]:
        data, tag = self._bucket.get(self._key) or (b'{"fence": 0}', "")
        return revive_holder(data, f"s3://{self._bucket.name}/{self._key}"), tag


@functools.cache
def _copy(folder: Path) -> Copy:
    return Copy(folder)


def home_of(folder: Path) -> Home:
    """Where a folder is kept: in a bucket, if it is a copy."""
    return _copy(folder.absolute()) if address_of(folder) else Home(folder)


def looked_at(place: str | Path) -> Path:
    """A place to look at: the copy of an address as it is now, or the folder itself."""
    if not is_address(place):
        return Path(place)
    folder = copy_at(place, LOOKING)
    home_of(folder).pull()
    return folder


def runs_at(place: Path) -> list[Path]:
    """The run folders in a folder of runs, by name."""
    if not is_address(place):
        return sorted(path.parent for path in place.glob("*/manifest.json"))
    known = copy_at(place, LOOKING)
    runs = [known / name for name in sorted(home_of(known).names())]
    return [fetched(run) for run in runs if "manifest.json" in home_of(run).names()]


def fetched(folder: Path) -> Path:
    """A folder within a run, such as the checkpoints of a trial, as it is kept now."""
    home_of(folder).pull()
    return folder


def _stat(path: Path) -> Known:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
