"""A search from opening its folder to closing it: new, continued, or interrupted."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metasearch import __version__, space
from metasearch.errors import RunError
from metasearch.observe.base import Observer, SearchInfo, Watched
from metasearch.registry import to_data
from metasearch.search.audience import Audience
from metasearch.search.backend import Backend, Resources
from metasearch.search.conductor import Conductor, Ending, Fill
from metasearch.search.config import SearchConfig, SearchFile
from metasearch.search.files import read_json, to_json, write_atomically
from metasearch.search.ledger import FORMAT, Ledger, Record, Run, describe, open_run, read_records
from metasearch.search.local import LocalBackend
from metasearch.search.racing import Pace
from metasearch.search.signals import Signals
from metasearch.search.study import Advice, Study
from metasearch.search.worker import DEFAULT_TRIAL

Resume = Literal["auto", "never", "must"]

# What may be another in the next sitting; all else decides what is asked and how it is judged.
_FREE = {"name", "trials", "time", "max_concurrent", "cpus_per_trial", "gpus_per_trial", "backend",
         "retries", "confirm", "baselines"}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is to be searched, and how."""

    search: SearchConfig
    space: Mapping[str, Any]  # the tree of a trial, with its draws
    score: str  # the name of the score trials are ranked by
    unit: str
    direction: Literal["minimize", "maximize"]
    reports: int  # of a trial that runs to its end
    watched: Sequence[Watched] = ()
    fill: Fill = dict  # writes the defaults into a resolved tree

    @staticmethod
    def of(file: SearchFile) -> Plan:
        """The plan in a search file."""
        some = file.trial(next(space.covering(file.space)).tree)
        return Plan(
            search=file.search,
            space=file.space,
            score=some.score.name,
            unit=some.score.unit,
            direction=some.score.direction,
            reports=some.budget.reports,
            watched=tuple(
                Watched(s.name, s.unit, s.direction, s.needs_likelihood) for s in some.also
            ),
            fill=lambda tree: to_data(file.trial(tree)),
        )

    def info(self, folder: Path) -> SearchInfo:
        """As observers and readers see it."""
        return SearchInfo(
            name=self.search.name,
            folder=folder,
            trials=self.search.trials,
            time_s=self.search.time_s,
            score=self.score,
            unit=self.unit,
            direction=self.direction,
            draws=space.draws(self.space),
            watched=self.watched,
        )

    def advice(self) -> Advice:
        """As the study needs it."""
        search = self.search
        return Advice(
            search.name, self.direction, search.seed, search.sampler, search.pruner, self.reports
        )

    def pace(self) -> Pace | None:
        """What trials race against; None if they do not."""
        sign = 1.0 if self.direction == "minimize" else -1.0
        return Pace(self.search.race, sign) if self.search.race else None

    def tree(self) -> dict[str, Any]:
        """As it stands in search.yaml: a search file again."""
        return {"search": to_data(self.search), "trial": to_data(self.space)}


@dataclass(frozen=True)
class Summary:
    """How a sitting ended."""

    run: Run  # as it was left
    ending: Ending
    exit_code: int  # 0; 3 without a usable trial; 130 or 143 after a signal

    @property
    def interrupted(self) -> bool:
        """Whether the same command would go on with it."""
        return self.ending == "interrupted"


def run_search(
    plan: Plan,
    folder: Path,
    observers: Sequence[Observer] = (),
    *,
    backend: Backend | None = None,
    resume: Resume = "auto",
    data: Mapping[str, Any] | None = None,
    trial: str = DEFAULT_TRIAL,
) -> Summary:
    """Search in `folder`, or go on where an earlier sitting stopped.

    The first SIGINT, SIGTERM or SIGHUP lets running trials stop at their next report, to be
    continued; the second ends at once.

    Args:
        plan: with a different space than the folder's, it is refused; with another number of
            trials or another time, the search is prolonged.
        folder: of the run; made if it is not there.
        observers: see `Observer`; one that raises is left out from then on.
        backend: what runs the trials; None makes the one the plan names.
        resume: `never` refuses a folder that holds a search, `must` one that holds none.
        data: says which data the trials use (counts, checksums); kept in the manifest, and a
            search is not continued on others.
        trial: the name of the trial function, as ``module:function``.

    Raises:
        RunError: the folder is in use, damaged, or does not fit the plan or `resume`.
        EnvironmentFault: the machine or cluster cannot run even one trial.
    """
    _check_folder(folder, resume)
    audience = Audience(observers)
    ending: Ending = "interrupted"
    with Signals() as signals, contextlib.closing(Ledger(folder)) as ledger:
        try:
            past = _open(ledger, plan, data or {})
            runner = backend or make_backend(plan.search, folder, trial)
            ending = _sit(plan, ledger, past, audience, runner, signals)
        finally:
            audience.closed(interrupted=ending == "interrupted")
    run = open_run(folder)
    code = signals.exit_code if ending == "interrupted" else 0 if run.best() else 3
    return Summary(run, ending, code)


def make_backend(
    search: SearchConfig, folder: Path, trial: str = DEFAULT_TRIAL, *, address: str | None = None
) -> Backend:
    """The backend a search in `folder` names; `address` is that of a Ray cluster to join."""
    resources = Resources(
        search.max_concurrent, search.cpus_per_trial, search.gpus_per_trial, search.retries
    )
    if search.backend == "local":
        return LocalBackend(trial, resources)
    from metasearch.search.ray_backend import RayBackend  # takes a second to import

    return RayBackend(trial, resources, folder / ".ray", address=address)


def _sit(
    plan: Plan,
    ledger: Ledger,
    past: Sequence[Record],
    audience: Audience,
    backend: Backend,
    signals: Signals,
) -> Ending:
    with backend, contextlib.ExitStack() as stack:
        signals.rearm()
        signals.raises = backend.in_process
        study = Study(ledger.folder / "study.journal", plan.space, plan.advice(), past)
        stack.callback(study.close)
        info = plan.info(ledger.folder)
        pace = plan.pace()
        conductor = Conductor(info, ledger, study, audience, signals, plan.fill, pace)
        conductor.resume(past)
        backend.run(conductor)
        return conductor.conclusion


def _check_folder(folder: Path, resume: Resume) -> None:
    there = (folder / "manifest.json").exists()
    if there and resume == "never":
        raise RunError(f"{folder}: holds a search already. Give another --name, or --resume auto.")
    if not there and resume == "must":
        raise RunError(f"{folder}: no search to go on with. Use --resume auto to begin one.")
    if folder.exists() and not there:
        strange = {path.name for path in folder.iterdir()} - {"ledger", "search.yaml", ".ray"}
        if strange:
            raise RunError(
                f"{folder}: not empty, and no run folder (it holds {min(strange)!r}). "
                "Give another --name or --out."
            )


def _open(ledger: Ledger, plan: Plan, data: Mapping[str, Any]) -> list[Record]:
    """See that the folder fits the plan, describe the sitting there, and read what is past."""
    folder = ledger.folder
    manifest = read_json(folder / "manifest.json")
    past = read_records(folder)
    if manifest is None and past:
        raise RunError(f"{folder}: manifest.json is missing. Restore it from a copy.")
    if manifest is not None:
        open_run(folder)  # of another format, it says so
        if past:  # until something was asked, everything may change
            _check_same(folder, space.load(folder / "search.yaml").tree, plan.tree())
            _check_data(folder, manifest["data"], data)
    write_atomically(folder / "search.yaml", space.dump(plan.tree()))
    now = {"at": time.time(), "fence": ledger.lease.fence, "versions": _versions()}
    first = manifest or {"sittings": [], "created_at": now["at"]}
    ledger.write_manifest({
        "format": FORMAT,
        "created_at": first["created_at"],
        "versions": now["versions"],
        "search": describe(plan.info(folder)),
        "seed": plan.search.seed,
        "data": data or first.get("data", {}),
        "sittings": [*first["sittings"], now],
    })  # fmt: skip
    return past


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    before = {**before, "search": {**to_data(SearchConfig()), **before["search"]}}
    old, new = (space.dump(_fixed(tree)).splitlines() for tree in (before, now))
    if old != new:
        changes = "\n".join(
            difflib.unified_diff(old, new, "in the folder", "asked for", lineterm="")
        )
        raise RunError(
            f"{folder}: this search has another space or other rules than the one asked for; only "
            f"{', '.join(sorted(_FREE))} may change.\n{changes}\nGive another --name to begin anew."
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
