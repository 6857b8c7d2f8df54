"""The truth of a search: what was asked and what finished, in small files of our own.

`ledger/0007.asked.json` is written before a trial starts, `ledger/0007.done.json` when it is over;
neither is ever changed, and the second is taken away only where the limit that ended a trial was
raised. All else in a run folder is derived from them or adds to them. Reading
needs neither torch, Ray nor Optuna, and the folder may move: no path in it is absolute.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from metasearch.errors import RunError
from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.search.files import append_line, read_json, sync_folder, to_json, write_atomically
from metasearch.search.home import home_of
from metasearch.search.lease import Lease, read_holder
from metasearch.search.limits import Spent
from metasearch.search.manifest import revive_info
from metasearch.search.revival import (
    BEHIND,
    check_params,
    checked_notes,
    number_or_nan,
    revive_end,
    revive_trial,
)
from metasearch.search.said import Answer, answered, line_of, read_places, read_reports
from metasearch.trial.report import Report

FORMAT = 1
_NAME = re.compile(r"\w[\w+.-]*")  # of a trial: that of a folder, inside of another
Curve = tuple[tuple[int, float], ...]  # (step, score), by step


@dataclass(frozen=True)
class Record:
    """What is known of one trial. `outcome` is None while it runs or waits to be resumed."""

    info: TrialInfo
    folder: Path
    asked_at: float  # unix time
    outcome: Outcome | None = None
    done_at: float | None = None
    curve: Curve = ()  # of a trial that is over; `reports` knows the rest
    notes: Mapping[str, Any] = field(default_factory=dict)  # what advisors remember of it
    last: Report | None = None  # the last report of a trial that is over

    @property
    def number(self) -> int:
        """Counts from 0 in the order of asking."""
        return self.info.number

    def reports(self) -> list[Report]:
        """Every report so far of all tasks, by step, without pictures and snapshots."""
        return [report for report in self.said() if report.whole]

    def said(self) -> list[Report]:
        """Every report so far, by step, also those in which judging was broken off."""
        with _as_written(self._reports):
            return read_reports(self._reports)

    @property
    def behind(self) -> tuple[int, float] | None:
        """Which report of a trial that is over, from 1, was broken off, and its expected mean."""
        return self.notes.get(BEHIND) and tuple(self.notes[BEHIND])

    def ran_on(self) -> list[str]:
        """The machines it ran on, with their cards, each once, in order."""
        with _as_written(path := self.folder / "ran_on.jsonl"):
            return read_places(path)

    def answered(self) -> tuple[int, bool]:
        """The last step at which it was told to go on, 0 if it never was; and whether it waits."""
        with _as_written(self._reports):
            return answered(self._reports)

    @property
    def _reports(self) -> Path:
        return self.folder / "reports.jsonl"


@dataclass(frozen=True)
class Run:
    """A run folder, read."""

    folder: Path
    info: SearchInfo
    manifest: Mapping[str, Any]
    trials: Sequence[Record]  # by number
    state: Literal["running", "finished", "stopped"]
    elapsed_s: float  # the clock of the search, over all its sittings

    def best(self, n: int = 1) -> list[Record]:
        """The best `n` trials that finished, best first; of equals, the earlier.

        Those that break a bound are left out, unless all do.
        """
        sign = 1.0 if self.info.direction == "minimize" else -1.0
        whole = [t for t in self.trials if t.outcome and t.outcome.state == "complete"]
        done = [(t, t.outcome.score) for t in whole if t.outcome and t.outcome.score is not None]
        if self.info.bounds:
            kept = [pair for pair in done if pair[0].last and self.info.kept(pair[0].last.scalars)]
            done = kept or done
        ranked = sorted(done, key=lambda pair: sign * (pair[1] or 0.0))
        return [trial for trial, _ in ranked[:n]]

    def count(self, state: str) -> int:
        """How many trials ended `complete`, `pruned` or `failed`."""
        return sum(t.outcome is not None and t.outcome.state == state for t in self.trials)


def open_run(folder: Path) -> Run:
    """Read a run folder; it may be running.

    Raises:
        RunError: it is no run folder, or is damaged.
    """
    manifest = read_json(folder / "manifest.json")
    if manifest is None:
        raise RunError(
            f"{folder}: no run folder (no manifest.json). "
            "`metasearch list` shows the runs there are."
        )
    if manifest.get("format") != FORMAT:
        writer = manifest.get("versions", {}).get("metasearch", "of another version")
        raise RunError(
            f"{folder}: written in format {manifest.get('format')!r}; this version reads {FORMAT}. "
            f"Use metasearch {writer}."
        )
    holder = read_holder(folder / "ledger")
    records = read_records(folder)
    with _as_written(folder / "manifest.json"):
        info = revive_info(manifest["search"], folder)
    for record in records:
        with _as_written(folder / "ledger" / _asked(record.number)):
            check_params(record.info, info.draws)
    spent = Spent(info, lambda: holder.clock_s, [record.last for record in records])
    over = (len(records) >= info.trials or spent.limit) and all(r.outcome for r in records)
    state: Literal["running", "finished", "stopped"] = "finished" if over else "stopped"
    return Run(
        folder=folder,
        info=info,
        manifest=manifest,
        trials=records,
        state="running" if holder.alive else state,
        elapsed_s=holder.clock_s,
    )


def read_records(folder: Path) -> list[Record]:
    """Every trial in the ledger of a run folder, by number.

    Raises:
        RunError: a record is missing or unreadable.
    """
    names = {path.name for path in (folder / "ledger").glob("*.json")}
    asked = sorted(
        (name for name in names if name.endswith(".asked.json")),
        key=lambda name: (len(name), name),  # 10000 comes after 9999
    )
    records = [_read_record(folder, number, name, names) for number, name in enumerate(asked)]
    strays = {n for n in names if n.endswith(".done.json")} - {_done(r.number) for r in records}
    if strays:
        raise RunError(
            f"{folder}/ledger: {min(strays)} has no record of its being asked. "
            "Restore the ledger from a copy."
        )
    return records


def _read_record(folder: Path, number: int, name: str, names: set[str]) -> Record:
    if name != _asked(number):
        raise RunError(
            f"{folder}/ledger: {_asked(number)} is missing, but {name} is there. "
            "Restore the ledger from a copy."
        )
    path = folder / "ledger" / name
    asked = read_json(path) or {}
    with _as_written(path):
        info = revive_trial(number, asked)
        if not _NAME.fullmatch(info.name):
            raise ValueError(f"{info.name!r} is no name of a trial")
        place = folder / "trials" / info.name
        notes = checked_notes(asked.get("notes", {}))
        record = Record(info, place, number_or_nan(asked["asked_at"]), notes=notes)
    path = path.with_name(_done(number))
    if path.name not in names:
        return record
    done = read_json(path)
    if done is None:  # taken back since its name was read, as a limit was raised
        return record
    with _as_written(path):
        return replace(record, **revive_end(done))


@contextmanager
def _as_written(path: Path) -> Iterator[None]:
    """Tell of a file that is JSON, but not ours.

    Raises:
        RunError: something that should be in it is not.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as fault:
        raise RunError(
            f"{path}: damaged ({type(fault).__name__}: {fault}). Restore the file from a copy."
        ) from fault


class Ledger:
    """The only writer of a run folder's records; holds the lease."""

    def __init__(self, folder: Path) -> None:
        """Take the lease of `folder`, which is made if it is not there, and bring it up to date.

        Raises:
            RunError: another process holds it.
        """
        self.folder = folder
        self.home = home_of(folder)
        self.lease = Lease.acquire(self.home.slot())
        self.home.pull()

    def asked(
        self, info: TrialInfo, sampler_seed: int, notes: Mapping[str, Any] | None = None
    ) -> Record:
        """Write down that a trial was asked for, before anybody runs it."""
        record = Record(info, self.folder / "trials" / info.name, asked_at=time.time())
        data = asdict(info) | {
            "format": FORMAT,
            "sampler_seed": sampler_seed,
            "notes": dict(notes or {}),
            "asked_at": record.asked_at,
            "fence": self.lease.fence,
        }
        self._write(_asked(info.number), data)
        return record

    def done(
        self, info: TrialInfo, outcome: Outcome, curve: Curve, last: Report | None, notes: Any
    ) -> None:
        """Write down how a trial ended, before anybody else is told."""
        data = {
            "format": FORMAT,
            "number": info.number,
            "outcome": asdict(outcome),
            "curve": curve,
            "last": last.to_data() if last else None,
            "notes": notes,
            "done_at": time.time(),
            "fence": self.lease.fence,
        }
        self._write(_done(info.number), data)

    def reopen(self, number: int) -> None:
        """Have a trial that a limit ended be without an outcome again."""
        self.lease.check()
        name = f"ledger/{_done(number)}"
        (self.folder / name).unlink()
        self.home.push(name)

    def reported(self, info: TrialInfo, report: Report, answer: Answer = "") -> None:
        """Add a report to those of its trial, with what it will be told."""
        self.lease.check()
        place = self.folder / "trials" / info.name
        append_line(place / "reports.jsonl", line_of(report, answer))
        self.home.keep(f"trials/{info.name}/reports.jsonl")

    def _write(self, name: str, data: Mapping[str, Any]) -> None:
        self.lease.check()
        write_atomically(self.folder / "ledger" / name, to_json(data) + "\n")
        self.home.keep(f"ledger/{name}", new=True)

    def write_manifest(self, data: Mapping[str, Any]) -> None:
        """Describe the search; the one record that is written anew in each sitting."""
        self.lease.check()
        write_atomically(self.folder / "manifest.json", to_json(data) + "\n")
        self.home.keep("manifest.json")
        sync_folder(self.folder.parent)

    def close(self) -> None:
        """Give the lease back."""
        self.lease.release()


def _asked(number: int) -> str:
    return f"{number:04d}.asked.json"


def _done(number: int) -> str:
    return f"{number:04d}.done.json"
