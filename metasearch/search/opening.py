"""Opening a run folder to search in it: is it the same search, on the same data?"""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from metasearch import __version__, space
from metasearch.errors import RunError
from metasearch.observe.base import Limit, SearchInfo
from metasearch.registry import Schema, revive, to_data
from metasearch.search.advisors import SAMPLERS, Auto, Sampler
from metasearch.search.config import SearchConfig
from metasearch.search.files import is_draft, read_json, to_json, write_atomically
from metasearch.search.first import Point
from metasearch.search.fit import Pick, pick
from metasearch.search.home import Home
from metasearch.search.ledger import FORMAT, Ledger, Record, open_run, read_records
from metasearch.search.limits import Spent, cut_short
from metasearch.search.manifest import describe
from metasearch.search.plan import Plan

OPENED = "test_opened.json"  # the record that the test tasks of a run were looked at
_BEFORE = {"ledger", "search.yaml", ".ray", "start", OPENED}  # what may be there first
Resume = Literal["auto", "never", "must", "extend"]

# What may be another in the next sitting; all else decides what is asked and how it is judged.
_FREE = {"name", "trials", "time", "gradients", "gpu_hours", "max_concurrent", "cpus_per_trial",
         "gpus_per_trial", "backend", "retries", "no_progress_timeout", "confirm",
         "baselines"}  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """What a sitting begins with."""

    past: Sequence[Record]  # by number
    sampler: Sampler  # what `auto` stands for
    first: Sequence[Point]  # what is tried first
    over: bool  # whether there is nothing left to run
    gpus: float  # of a trial; with `auto`, what an earlier sitting measured


def check_home(home: Home, resume: Resume) -> None:
    """See that a folder may hold the search.

    Raises:
        RunError: it holds something else, or a search although it should not, or none.
    """
    names = home.names()
    there = "manifest.json" in names
    if there and resume == "never":
        raise RunError(
            f"{home.where}: holds a search already. Give another --name, or --resume auto."
        )
    if not there and resume == "must":
        raise RunError(f"{home.where}: no search to go on with. Use --resume auto to begin one.")
    strange = {name for name in names if not is_draft(name)} - _BEFORE
    if strange and not there:
        raise RunError(
            f"{home.where}: not empty, and no run folder (it holds {min(strange)!r}). "
            "Give another --name or --out."
        )


def open_folder(
    ledger: Ledger, plan: Plan, data: Mapping[str, Any], resume: Resume = "auto"
) -> Opened:
    """See that the folder fits the plan, describe the sitting there, and read what is past.

    Raises:
        RunError: the folder is damaged, or of another plan or other data.
    """
    folder, grown = ledger.folder, ""
    manifest = read_json(folder / "manifest.json")
    past = read_records(folder)
    if manifest is None and past:
        raise RunError(f"{folder}: manifest.json is missing. Restore it from a copy.")
    if manifest is not None:
        open_run(folder)  # of another format, it says so
        if past:  # until something was asked, everything may change
            grown = _check_same(folder, plan, extend=resume == "extend")
            _check_data(folder, manifest["data"], data)
    write_atomically(folder / "search.yaml", space.dump(plan.tree()))
    begun, info = (manifest if past else None), _info(plan, folder, manifest)
    picked, first_tried = _picked(plan, begun), _first(plan, begun)
    now = {"at": time.time(), "fence": ledger.lease.fence, "versions": _versions()}
    if grown:
        now["extended"] = grown
    first = manifest or {"sittings": [], "created_at": now["at"]}
    ledger.write_manifest({
        "format": FORMAT,
        "created_at": first["created_at"],
        "versions": now["versions"],
        "search": describe(info),
        "seed": plan.search.seed,
        "sampler": {"picked": to_data(picked.sampler), "why": picked.why},
        "first": [vars(point) for point in first_tried],
        "data": data or first.get("data", {}),
        "plugins": dict(plan.plugins),
        "sittings": [*first["sittings"], now],
    })  # fmt: skip
    past, limit = _reopened(ledger, info, past)
    done = len(past) >= plan.search.trials and all(record.outcome for record in past)
    return Opened(past, picked.sampler, first_tried, bool(limit) or done, info.gpus)


def _info(plan: Plan, folder: Path, manifest: Mapping[str, Any] | None) -> SearchInfo:
    """As readers see it; `gpus_per_trial: auto` stands for what was measured before."""
    info = plan.info(folder)
    if plan.search.gpus_per_trial == "auto" and manifest is not None:
        return replace(info, gpus=manifest["search"].get("gpus", 0.0))
    return info


def _reopened(ledger: Ledger, info: SearchInfo, past: list[Record]) -> tuple[list[Record], Limit]:
    """Have trials that a limit ended go on if it was raised; returns which limit is reached."""
    lasts = [r.last or next(reversed(r.said()), None) for r in past]
    limit = Spent(info, lambda: ledger.lease.elapsed_s, lasts).limit
    cut = [] if limit else [record.number for record in past if cut_short(record.outcome)]
    for number in cut:
        ledger.reopen(number)
    return read_records(ledger.folder) if cut else past, limit


def _first(plan: Plan, begun: Mapping[str, Any] | None) -> list[Point]:
    """What is tried first, as it was found when the search began."""
    if begun is not None:
        return [Point(**known) for known in begun.get("first", ())]
    return list(plan.first())


def _picked(plan: Plan, manifest: Mapping[str, Any] | None) -> Pick:
    """What `auto` was found to stand for when the search began; else as it is now."""
    known = (manifest or {}).get("sampler")
    if known and isinstance(plan.search.sampler, Auto):
        return Pick(revive(SAMPLERS, known["picked"], "sampler"), known["why"])
    return pick(plan.search.sampler, plan.job())


def _check_same(folder: Path, plan: Plan, *, extend: bool) -> str:
    """See that a plan is the folder's; returns by what its space is wider, if it may be."""
    before, now = space.load(folder / "search.yaml").tree, plan.tree()
    known = Schema(SearchConfig).build(before["search"], "search")  # with settings that came since
    before = {**before, "search": to_data(known)}
    old, new = (space.dump(_fixed(tree)).splitlines() for tree in (before, now))
    if old == new:
        return ""
    changes = "\n".join(difflib.unified_diff(old, new, "in the folder", "asked for", lineterm=""))
    same_rules = _fixed(before)["search"] == _fixed(now)["search"]
    narrowed = space.narrowed(before["trial"], now["trial"])
    if extend and same_rules and not narrowed:
        return changes
    how = "Give another --name to begin anew."
    if extend and narrowed:
        how = "--extend lets the space only widen:\n" + "\n".join(narrowed)
    elif same_rules and not narrowed:
        how = "It only widens: --extend goes on with it. Or give another --name to begin anew."
    raise RunError(
        f"{folder}: this search has another space or other rules than the one asked for; only "
        f"{', '.join(sorted(_FREE))} may change.\n{changes}\n{how}"
    )


def _fixed(tree: Mapping[str, Any]) -> dict[str, Any]:
    search = {key: value for key, value in tree["search"].items() if key not in _FREE}
    return {"search": search, "trial": tree["trial"]}


def _check_data(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    now = json.loads(to_json(now))
    changed = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
    if before and now and changed:
        key = changed[0]
        raise RunError(
            f"{folder}: the data changed since this search began ({key}: {before.get(key)!r}, now "
            f"{now.get(key)!r}). Scores on other data cannot be compared: give another --name."
        )


def _versions() -> dict[str, str]:
    found = {"metasearch": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "optuna", "ray"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
