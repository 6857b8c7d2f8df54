"""What is damaged in a run folder, and how it is mended from what is whole.

The ledger is the truth, so there is little that hurts: the journal is rebuilt from it, a torn
record of an end lets its trial go on from its last checkpoint, and a torn line of a curve is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metasearch import space
from metasearch.errors import ConfigError, RunError
from metasearch.registry import revive
from metasearch.search.advisors import SAMPLERS
from metasearch.search.config import SearchFile
from metasearch.search.files import read_json, write_atomically
from metasearch.search.home import home_of
from metasearch.search.journal import ends_in
from metasearch.search.lease import read_holder
from metasearch.search.ledger import Ledger, Record, open_run, read_records
from metasearch.search.plan import Plan
from metasearch.search.revival import revive_end
from metasearch.search.said import read_line
from metasearch.search.study import Study


@dataclass(frozen=True)
class Wound:
    """One thing that is wrong."""

    what: str  # the file
    found: str
    advice: str = ""
    mend: Callable[[], object] | None = None  # None: not from what is here


def examine_run(folder: Path) -> list[Wound]:
    """All that is wrong with a run folder; nothing is changed."""
    wounds = [*_ledger(folder), *_reports(folder), *_search_file(folder)]
    return wounds or [*_curves(folder), *_journal(folder)]  # which are judged by the others


def mend_run(folder: Path) -> list[Wound]:
    """Mend what can be; returns what could not.

    Raises:
        RunError: the search runs; only who holds the lease may write.
    """
    Ledger(folder).close()  # or it is in use
    for _ in range(3):  # what is mended uncovers what was hidden
        for wound in (wounds := examine_run(folder)):
            if wound.mend is not None:
                wound.mend()
        if not wounds:
            break
    home_of(folder).push()
    return examine_run(folder)


def _ledger(folder: Path) -> Iterator[Wound]:
    yield from (found := [*_files(folder)])
    try:
        open_run(folder)
    except RunError as fault:
        if not found:
            yield Wound("ledger", str(fault))


def _files(folder: Path) -> Iterator[Wound]:
    """Files of the ledger that cannot be read as what they are."""
    try:
        read_holder(folder / "ledger")
    except (RunError, TypeError):
        lease = folder / "ledger" / "lease.json"
        yield Wound("ledger/lease.json", "unreadable", "the clock starts anew", _aside(lease))
    if not _reads(read_json, folder / "manifest.json"):
        yield Wound("manifest.json", "unreadable", "restore it from a copy")
    for file in sorted((folder / "ledger").glob("[0-9]*.json")):
        name, ends = f"ledger/{file.name}", file.name.endswith(".done.json")
        if not file.is_file():
            yield Wound(name, "no file", "remove what is in its place")
        elif ends and not _reads(lambda file: revive_end(read_json(file) or {}), file):
            advice = "its trial goes on from its last checkpoint, or ends again as it did"
            yield Wound(name, "unreadable", advice, _aside(file))
        elif not _reads(read_json, file):
            yield Wound(name, "unreadable", "restore it from a copy: nothing else has all of it")


def _reports(folder: Path) -> Iterator[Wound]:
    for file in sorted(folder.glob("trials/*/reports.jsonl")):
        there = file.read_bytes()
        lines = there[: there.rfind(b"\n") + 1].splitlines(keepends=True)  # a torn tail is no wound
        whole = [line for line in lines if _reads(read_line, line)]
        if whole != lines:
            advice, name = "lines that are whole are kept", str(file.relative_to(folder))
            text = b"".join(whole).decode()
            yield Wound(name, "torn lines inside", advice, _rewrite(file, text))


def _curves(folder: Path) -> Iterator[Wound]:
    """Trials that are over and lack reports that their record counts."""
    for record in read_records(folder):
        if (lacking := len(record.curve) - len(record.reports())) > 0:
            name = f"trials/{record.info.name}/reports.jsonl"
            found = f"{lacking} of {len(record.curve)} reports are missing"
            advice = "restore it from a copy; score and curve stand in the ledger, tasks do not"
            yield Wound(name, found, advice)


def _search_file(folder: Path) -> Iterator[Wound]:
    try:
        SearchFile.load(folder / "search.yaml")
    except (ConfigError, OSError) as fault:
        first = str(fault).splitlines()[0]
        yield Wound("search.yaml", first, "give the search file again: metasearch search FILE")


def _journal(folder: Path) -> Iterator[Wound]:
    journal, records = folder / "study.journal", read_records(folder)
    advice = "it is rebuilt from the ledger"
    told = ends_in(journal) if journal.exists() else None
    if told is None:
        yield Wound("study.journal", "unreadable", advice, lambda: rebuild(folder, records))
        return
    expected = [_end_of(record) for record in records]
    if told != expected:
        at = next((i for i, (a, b) in enumerate(zip(told, expected, strict=False)) if a != b),
                  min(len(told), len(expected)))  # fmt: skip
        found = f"does not agree with the ledger from trial {at} on"
        yield Wound("study.journal", found, advice, lambda: rebuild(folder, records))


def rebuild(folder: Path, records: list[Record]) -> None:
    """Write the journal of a search that does not run anew from the ledger."""
    plan = Plan.of(SearchFile.load(folder / "search.yaml"))
    manifest = read_json(folder / "manifest.json") or {}
    picked = manifest.get("sampler", {}).get("picked")
    sampler = revive(SAMPLERS, picked, "sampler") if picked else plan.search.sampler
    space.check(plan.space)
    Study(folder / "study.journal", plan.space, plan.advice(sampler), records).close()


def _aside(file: Path) -> Callable[[], object]:
    return lambda: file.rename(file.with_name(f"{file.name}.damaged"))


def _rewrite(file: Path, text: str) -> Callable[[], object]:
    return lambda: write_atomically(file, text)


def _end_of(record: Record) -> tuple[str, float | None]:
    """As `ends_in` has it."""
    state = record.outcome.state if record.outcome else "open"
    return state, record.outcome.score if record.outcome and state == "complete" else None


def _reads(read: Callable[[Any], object], what: Path | bytes) -> bool:
    """Whether something can be read as what it should be."""
    try:
        read(what)
    except (RunError, ConfigError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return False
    except OverflowError:  # a number that no float can hold
        return False
    return True
