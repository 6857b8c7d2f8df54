"""From a checked search file to a search that ran: what `quickstart`, `search`, `resume` share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from metasearch.cli.look import status_text
from metasearch.cli.output import note, pairs, result, result_json
from metasearch.cli.places import called, command, short
from metasearch.cli.report import leave_report

if TYPE_CHECKING:
    from metasearch.search.config import SearchFile
    from metasearch.search.run import Summary

Resume = Literal["auto", "never", "must", "extend"]


def launch(
    file: SearchFile, folder: Path, *, resume: Resume = "auto", address: str | None = None
) -> Summary:
    """Open the data, tell what is searched, and search in `folder` until it ends.

    Raises:
        DataError: the task source is missing, damaged or too small.
        RunError: the folder is in use, damaged, or does not fit.
        EnvironmentFault: the machine or cluster cannot run even one trial.
    """
    from metasearch.observe.progress import Progress
    from metasearch.observe.tensorboard import TensorBoard
    from metasearch.observe.trial_files import TrialFiles
    from metasearch.search.process import limit_threads
    from metasearch.search.run import Plan, make_backend, run_search

    limit_threads(file.search.cpus_per_trial)  # what is prepared here is as workers compute it
    data = open_data(file)
    note(f"searching in {short(folder)}; look at it with {command('tensorboard', called(folder))}")
    summary = run_search(
        Plan.of(file),
        folder,
        [Progress(), TrialFiles(), TensorBoard()],
        backend=make_backend(file.search, folder, address=address),
        resume=resume,
        data=data,
    )
    leave_report(folder)
    return summary


def open_data(file: SearchFile) -> dict[str, Any]:
    """Open the task source and prepare what scores need; say what it holds.

    Raises:
        DataError: the source is missing, damaged or too small.
    """
    from metasearch import space
    from metasearch.tasks.base import SPLITS
    from metasearch.trial.loop import bench_for

    config = file.trial(next(space.covering(file.space)).tree)
    note(f"reading {config.tasks.name}")
    bench = bench_for(config)
    splits = {split: len(bench.data.tasks(split)) for split in SPLITS}
    counts = ", ".join(f"{n} {split}" for split, n in splits.items())
    leaks = bench.data.leaks
    found = "no leaks" if leaks.clean else f"{leaks.same_bytes + leaks.near_classes} leaks"
    dropped = f", {len(leaks.dropped)} classes dropped as twins" if leaks.dropped else ""
    note(f"tasks: {counts}; {found}{dropped}")
    return {
        "source": config.tasks.name,
        "fingerprint": bench.data.fingerprint,
        "shape": list(bench.data.shape),
        "splits": splits,
        "features": bench.features.fingerprint if bench.features else None,
    }


def conclude(summary: Summary, *, as_json: bool) -> int:
    """Print how a search ended and what to do next; returns the exit code."""
    from metasearch.cli import facts

    run, name = summary.run, called(summary.run.folder)
    if as_json:
        result_json({**facts.of_run(run), "ending": summary.ending})
    else:
        result(status_text(run))
    if summary.interrupted:
        note(f"interrupted; nothing that finished is lost. Go on with: {command('resume', name)}")
    elif summary.ending == "failing":
        note(f"given up: trials fail alike. Look at one: {command('show', name, 0)}")
    elif summary.exit_code == 3:
        note(f"no trial finished, so nothing can be exported. See: {command('show', name)}")
    elif not as_json:
        result("next")
        bundle = short(run.folder.with_name(f"{run.folder.name}-best"))
        result(f"  {command('best', name)}")
        result(f"  {command('tensorboard', name)}")
        result(f"  {command('export', name, '-o', bundle)}")
    return summary.exit_code


def rehearse(file: SearchFile, folder: Path, *, as_json: bool) -> None:
    """Print what a search would do; nothing is written or run."""
    from metasearch import space

    config = file.trial(next(space.covering(file.space)).tree)
    size = space.size(file.space)
    limit = math.inf if file.search.time_s is None else file.search.time_s
    told: dict[str, Any] = {
        "name": file.search.name,
        "folder": str(folder),
        "exists": (folder / "manifest.json").exists(),
        "trials": file.search.trials,
        "time_s": limit,
        "draws": size.draws,
        "configurations": size.configurations,
        "gradients_per_trial": config.budget.gradients,
        "gradients": config.budget.gradients * file.search.trials,
        "data": open_data(file),
    }
    if as_json:
        result_json(told)
        return
    splits = ", ".join(f"{n} {split}" for split, n in told["data"]["splits"].items())
    result(pairs([
        ("name", told["name"]),
        ("folder", f"{short(folder)} ({'there already' if told['exists'] else 'new'})"),
        ("space", str(size)),
        ("trials", f"at most {told['trials']}"),
        ("budget", f"{config.budget.gradients:,} gradient evaluations per trial"),
        ("time", "no limit" if math.isinf(limit) else f"no new trials after {limit:,.0f} s"),
        ("data", f"{config.tasks.name}: {splits} tasks"),
        ("runs on", f"{file.search.backend}, {file.search.cpus_per_trial} CPU and "
                    f"{file.search.gpus_per_trial:g} GPU per trial"),
    ], indent=""))  # fmt: skip
