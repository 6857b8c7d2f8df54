"""What is damaged in a run folder, and how it is mended from what is whole.

The ledger is the truth, so there is little that hurts: the journal is rebuilt from it, a torn
record of an end lets its trial go on from its last checkpoint, and a torn line of a curve is cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from metasearch import space
from metasearch.errors import ConfigError, RunError
from metasearch.registry import revive
from metasearch.search.advisors import SAMPLERS
from metasearch.search.config import SearchFile
from metasearch.search.files import read_json, write_atomically
from metasearch.search.home import home_of
from metasearch.search.journal import states_in
from metasearch.search.lease import read_holder
from metasearch.search.ledger import Ledger, Record, open_run, read_records
from metasearch.search.plan import Plan
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
    return wounds or list(_journal(folder))  # which is judged by the others


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
    try:
        read_holder(folder / "ledger")
    except (RunError, TypeError):
        lease = folder / "ledger" / "lease.json"
        yield Wound("ledger/lease.json", "unreadable", "the clock starts anew", _aside(lease))
    for file in sorted((folder / "ledger").glob("[0-9]*.json")):
        if _is_json(file):
            continue
        name = f"ledger/{file.name}"
        if file.name.endswith(".done.json"):
            advice = "its trial goes on from its last checkpoint, or ends again as it did"
            yield Wound(name, "unreadable", advice, _aside(file))
        else:
            yield Wound(name, "unreadable", "restore it from a copy: nothing else has all of it")
    try:
        open_run(folder)
    except RunError as fault:
        if all(_is_json(file) for file in (folder / "ledger").glob("*.json")):
            yield Wound("ledger", str(fault))


def _reports(folder: Path) -> Iterator[Wound]:
    for file in sorted(folder.glob("trials/*/reports.jsonl")):
        whole = [line for line in file.read_bytes().split(b"\n") if _json_line(line)]
        text = b"".join(line + b"\n" for line in whole)
        there = file.read_bytes()
        if there != text and there[: there.rfind(b"\n") + 1] != text:  # a torn tail is no wound
            advice = "lines that are whole are kept"
            name = str(file.relative_to(folder))
            yield Wound(name, "torn lines inside", advice, _rewrite(file, text.decode()))


def _search_file(folder: Path) -> Iterator[Wound]:
    try:
        SearchFile.load(folder / "search.yaml")
    except (ConfigError, OSError) as fault:
        first = str(fault).splitlines()[0]
        yield Wound("search.yaml", first, "give the search file again: metasearch search FILE")


def _journal(folder: Path) -> Iterator[Wound]:
    journal, records = folder / "study.journal", read_records(folder)
    advice = "it is rebuilt from the ledger"
    told = states_in(journal) if journal.exists() else None
    if told is None:
        yield Wound("study.journal", "unreadable", advice, lambda: rebuild(folder, records))
        return
    expected = [record.outcome.state if record.outcome else "open" for record in records]
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


def _is_json(file: Path) -> bool:
    return _json_line(file.read_bytes())


def _json_line(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
