"""From a checked search file to a search that ran: what `quickstart`, `search`, `resume` share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from metasearch.cli.look import status_text
from metasearch.cli.output import note, result, result_json
from metasearch.cli.places import called, command, short
from metasearch.cli.report import leave_report

if TYPE_CHECKING:
    from metasearch.search.config import SearchFile
    from metasearch.search.ledger import Run
    from metasearch.search.run import Summary

Resume = Literal["auto", "never", "must", "extend"]


def launch(
    file: SearchFile,
    folder: Path,
    *,
    resume: Resume = "auto",
    address: str | None = None,
    even_open: bool = False,
) -> Summary:
    """Open the data, tell what is searched, and search in `folder` until it ends.

    Raises:
        DataError: the task source is missing, damaged or too small.
        RunError: the folder is in use, damaged, or does not fit.
        EnvironmentFault: the machine or cluster cannot run even one trial, or is open to all.
    """
    from metasearch.observe.progress import Progress
    from metasearch.observe.tensorboard import TensorBoard
    from metasearch.observe.trial_files import TrialFiles
    from metasearch.report import LiveReport
    from metasearch.search.process import limit_threads
    from metasearch.search.rehearsal import open_data
    from metasearch.search.run import Plan, make_backend, run_search
    from metasearch.search.said import read_places

    limit_threads(file.search.cpus_per_trial)  # what is prepared here is as workers compute it
    data = open_data(file, note)
    note(f"searching in {short(folder)}; look at it with {command('tensorboard', called(folder))}")
    summary = run_search(
        Plan.of(file),
        folder,
        [Progress(places=read_places), TrialFiles(), TensorBoard(), LiveReport()],
        backend=make_backend(file.search, folder, address=address, even_open=even_open),
        resume=resume,
        data=data,
    )
    leave_report(folder)
    return summary


def conclude(summary: Summary, *, as_json: bool) -> int:
    """Print how a search ended and what to do next; returns the exit code."""
    from metasearch.cli import facts
    from metasearch.search.limits import cut_short

    run, name = summary.run, called(summary.run.folder)
    if as_json:
        result_json({**facts.of_run(run), "ending": summary.ending})
    else:
        result(status_text(run))
    if cut := sum(cut_short(trial.outcome) for trial in run.trials):
        note(
            f"{cut} trials would go on with a higher limit: {command('resume', name, *_more(run))}"
        )
    if summary.interrupted:
        note(f"interrupted; nothing that finished is lost. Go on with: {command('resume', name)}")
    elif summary.ending == "failing":
        note(f"given up: trials fail alike. Look at one: {command('show', name, 0)}")
    elif summary.exit_code == 3:
        note(f"no trial finished, so nothing can be exported. See: {command('show', name)}")
    elif not as_json:
        result(f"look at it: open {short(run.folder / 'report.html')} in a browser")
        result("next")
        bundle = short(run.folder.with_name(f"{run.folder.name}-best"))
        result(f"  {command('best', name)}")
        result(f"  {command('tensorboard', name)}")
        result(f"  {command('export', name, '-o', bundle)}")
    return summary.exit_code


def _more(run: Run) -> list[object]:
    """Twice of each limit that cut trials short, as flags."""
    info, cut = run.info, {trial.outcome.reason for trial in run.trials if trial.outcome}
    twice = {
        "time": info.time_s and f"{math.ceil(2 * info.time_s)}s",
        "gradients": info.gradients and 2 * info.gradients,
        "gpu_hours": info.gpu_hours and 2 * info.gpu_hours,
    }
    flags = {f"--{name.replace('_', '-')}": twice[name] for name in twice if name in cut}
    return [word for flag, value in flags.items() if value for word in (flag, value)]
