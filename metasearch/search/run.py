"""A search from opening its folder to closing it: new, continued, or interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metasearch.observe.base import Observer
from metasearch.search.audience import Audience, Uploads
from metasearch.search.backend import Backend, Resources
from metasearch.search.conductor import Conductor, Ending
from metasearch.search.config import SearchConfig
from metasearch.search.files import named, read_json
from metasearch.search.home import home_of
from metasearch.search.ledger import Ledger, Run, open_run
from metasearch.search.local import LocalBackend
from metasearch.search.opening import Opened, Resume, check_home, open_folder
from metasearch.search.plan import Plan
from metasearch.search.pool import Pool
from metasearch.search.signals import Signals
from metasearch.search.study import Study
from metasearch.search.worker import DEFAULT_TRIAL

__all__ = ["Plan", "Resume", "Summary", "make_backend", "run_search"]


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

    The first SIGINT, SIGTERM or SIGHUP lets running trials keep what they have and stop, to be
    continued; the second ends at once.

    Args:
        plan: with a different space than the folder's, it is refused; with another number of
            trials or another time, the search is prolonged.
        folder: of the run; made if it is not there.
        observers: see `Observer`; one that raises is left out from then on.
        backend: what runs the trials; None makes the one the plan names.
        resume: `never` refuses a folder that holds a search, `must` one that holds none; `extend`
            also goes on in a space that is wider than the folder's.
        data: says which data the trials use (counts, checksums); kept in the manifest, and a
            search is not continued on others.
        trial: the name of the trial function, as ``module:function``.

    Raises:
        RunError: the folder is in use, damaged, or does not fit the plan or `resume`.
        EnvironmentFault: the machine or cluster cannot run even one trial.
    """
    home = home_of(folder)
    check_home(home, resume)
    pool = Pool(folder) if plan.search.warm_start else None
    audience = Audience([*([pool] if pool else []), *observers, Uploads(home)])
    ending: Ending = "interrupted"
    with named(folder), Signals() as signals, contextlib.closing(Ledger(folder)) as ledger:
        try:
            opened = open_folder(ledger, plan, data or {}, resume)
            home.push()
            runner = backend or make_backend(plan.search, folder, trial)
            planned = replace(plan, fill=pool.after(plan.fill)) if pool else plan
            ending = _sit(planned, ledger, opened, audience, runner, signals)
        finally:
            audience.closed(interrupted=ending == "interrupted")
        home.push()
    run = open_run(folder)
    code = signals.exit_code if ending == "interrupted" else 0 if run.best() else 3
    return Summary(run, ending, code)


def make_backend(
    search: SearchConfig,
    folder: Path,
    trial: str = DEFAULT_TRIAL,
    *,
    address: str | None = None,
    even_open: bool = False,
) -> Backend:
    """The backend a search in `folder` names; `address` is that of a Ray cluster to join, which
    may take anybody if `even_open`.
    """
    resources = Resources(
        search.max_concurrent,
        search.cpus_per_trial,
        search.gpus_per_trial,
        search.retries,
        search.patience_s,
    )
    if search.backend == "local":
        return LocalBackend(trial, resources)
    from metasearch.search.ray_backend import RayBackend  # takes a second to import

    return RayBackend(trial, resources, folder / ".ray", address=address, even_open=even_open)


def _sized(plan: Plan, ledger: Ledger, backend: Backend) -> Plan:
    """Measure what `auto` stands for, and write it down."""
    share = backend.settle(plan.greedy())
    manifest = read_json(ledger.folder / "manifest.json") or {}
    search = {**manifest["search"], "gpus": share.gpus}
    ledger.write_manifest({**manifest, "search": search, "gpus_per_trial": share.to_data()})
    return plan.sized(share.gpus)


def _sit(
    plan: Plan,
    ledger: Ledger,
    opened: Opened,
    audience: Audience,
    backend: Backend,
    signals: Signals,
) -> Ending:
    # A search that is typed again when all is done has no use for a cluster.
    with contextlib.nullcontext() if opened.over else backend, contextlib.ExitStack() as stack:
        signals.rearm()
        signals.raises = backend.in_process
        advice = plan.advice(opened.sampler, opened.first)
        if plan.search.gpus_per_trial == "auto":
            plan = plan.sized(opened.gpus) if opened.over else _sized(plan, ledger, backend)
        study = Study(ledger.folder / "study.journal", plan.space, advice, opened.past)
        stack.callback(study.close)
        info = plan.info(ledger.folder)
        pace = plan.pace(study.spared)
        conductor = Conductor(info, ledger, study, audience, signals, plan.fill, pace)
        conductor.resume(opened.past)
        if not opened.over:
            backend.run(conductor)
        conductor.close()
        return conductor.conclusion
