"""Verbs that look at runs. They read run folders alone: neither torch nor Ray is loaded."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metasearch.cli import facts
from metasearch.cli.output import Json, note, pairs, result, result_json, table
from metasearch.cli.places import (
    TRIAL,
    RunName,
    called,
    command,
    find_run,
    home,
    run_folders,
    short,
)
from metasearch.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from metasearch.search.ledger import Record, Run
    from metasearch.space import Draw


_WHY = {  # of endings that say no more of themselves
    "non_finite": "losses or weights left the range of numbers, as with rates that are too large: "
    "see outer.lr, and lr and clip of the inner loop",
    "pruner": "others were better at the same step",
    "time": "the time of the search was over",
}
_ODD = {"non_finite", "objective"}  # endings before time that no rule of the search was after


def list_runs(as_json: Json = False) -> None:
    """List the runs in METASEARCH_HOME (./runs if that is not set).

    Example: metasearch list
    """
    rows = [_row(folder) for folder in run_folders()]
    if as_json:
        result_json(rows)
    elif not rows:
        note(f"there are no runs in {home()}. Begin one: {command('quickstart')}")
    else:
        shown = [
            [row["name"], row["state"], row["done"], row["best"], row["begun"]] for row in rows
        ]
        result(table(["run", "state", "trials", "best", "begun"], shown))


def _row(folder: Path) -> dict[str, Any]:
    from metasearch.observe.text import interval
    from metasearch.search.ledger import open_run

    try:
        told = facts.of_run(open_run(folder))
    except RunError as error:
        row = {"name": folder.name, "folder": str(folder), "state": "damaged", "error": str(error)}
        return {**row, "done": "-", "best": "-", "begun": "-"}
    best, trials = told["best"], told["trials"]
    score = interval(best["score"], best["low"], best["high"]) if best else "-"
    return {
        "name": folder.name,
        "folder": str(folder),
        "state": told["state"],
        "error": "",
        "done": f"{trials['asked'] - trials['open']}/{trials['wanted']}",
        "best": f"{told['score']['name']} {score}" if best else "-",
        "begun": time.strftime("%Y-%m-%d %H:%M", time.localtime(told["created_at"])),
    }


def status(
    run: RunName,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Say how far a run is, who leads, and what failed.

    Example: metasearch status quickstart
    """
    from metasearch.search.ledger import open_run

    folder = find_run(run)
    while True:
        found = open_run(folder)
        result_json(facts.of_run(found)) if as_json else result(status_text(found))
        if not watch or found.state != "running":
            return
        time.sleep(5)
        if not as_json and sys.stdout.isatty():
            typer.echo("\x1b[2J\x1b[H", nl=False)  # a page that changes, not a roll of pages
        else:
            result()


def status_text(run: Run) -> str:
    """A run in a few lines."""
    from metasearch.observe.text import interval, span

    told = facts.of_run(run)
    trials, best, score = told["trials"], told["best"], told["score"]
    limit = f" of {span(told['time_s'])}" if told["time_s"] else ""
    done = trials["asked"] - trials["open"]
    better = "lower" if score["direction"] == "minimize" else "higher"
    states = [f"{trials['complete']} complete"]
    for state, reasons in (("pruned", told["pruned"]), ("failed", told["failures"])):
        if reasons:
            why = ", ".join(f"{e['count']} {e['reason']}" for e in reasons)
            states.append(f"{trials[state]} {state} ({why})")
    if trials["open"]:
        word = "running" if run.state == "running" else "to be continued"
        states.append(f"{trials['open']} {word}")
    rows: list[tuple[str, object]] = [
        ("state", f"{told['state']} after {span(told['elapsed_s'])}{limit}"),
        ("trials", f"{done} of {trials['wanted']} ended: {', '.join(states)}"),
        ("score", f"{score['name']} in {score['unit']}, {better} is better"),
    ]
    if best:
        value = interval(best["score"], best["low"], best["high"])
        rows.append(("best", f"{value} by {best['name']}"))
    else:
        rows.append(("best", "no trial has finished yet"))
    rows += [("failure", f"{e['example']} (trial {e['trials'][0]})") for e in told["failures"]]
    odd = [*told["failures"], *(e for e in told["pruned"] if e["reason"] in _ODD)]
    if odd:
        rows.append(("why", command("show", called(run.folder), odd[0]["trials"][0])))
    rows += [("silent", _silence(straggler)) for straggler in told["stragglers"]]
    if run.state == "stopped":
        rows.append(("go on", command("resume", called(run.folder))))
    return f"{run.info.name} ({short(run.folder)})\n{pairs(rows)}"


def _silence(straggler: dict[str, Any]) -> str:
    from metasearch.observe.text import span

    where = f" on {straggler['ran_on']}" if straggler["ran_on"] else ""
    return f"{straggler['name']}{where}: no report for {span(straggler['silent_s'])}"


def show(
    run: RunName,
    trial: Annotated[str | None, TRIAL] = None,
    as_json: Json = False,
) -> None:
    """Show what a run searches and all its trials, or all that is known of one trial.

    Example: metasearch show quickstart 3
    """
    from metasearch.search.ledger import open_run
    from metasearch.search.manifest import describe

    found = open_run(find_run(run))
    if trial is not None:
        told = facts.of_trial_in_full(find_trial(found, trial))
        result_json(told) if as_json else result(_trial_text(found, told))
    elif as_json:
        rows = [facts.of_trial(t) for t in found.trials]
        result_json({**facts.of_run(found), "search": describe(found.info), "all_trials": rows})
    else:
        result(status_text(found))
        result()
        result(draws_table(found.info.draws))
        result()
        result(_trials_text(found.trials))


def find_trial(run: Run, trial: str) -> Record:
    """The trial of a run that is called so, or has this number.

    Raises:
        RunError: there is none.
    """
    for record in run.trials:
        if trial == record.info.name or (trial.isdecimal() and int(trial) == record.number):
            return record
    if not run.trials:
        raise RunError(f"{run.folder}: there is no trial yet.")
    raise RunError(
        f"{run.folder}: there is no trial {trial!r}; there are 0 to {len(run.trials) - 1}. "
        f"List them: {command('show', called(run.folder))}"
    )


def draws_table(draws: Sequence[Draw]) -> str:
    """What is searched, one draw a line."""
    rows = [
        [
            draw.path,
            draw.kind,
            ", ".join(map(str, draw.options)) or f"{draw.low:g} to {draw.high:g}",
            " and ".join(f"{path} is {label}" for path, label in draw.only_if),
        ]
        for draw in draws
    ]
    return table(["searched", "as", "from", "only if"], rows)


def _trials_text(trials: Sequence[Record]) -> str:
    from metasearch.observe.text import interval

    rows = []
    for trial in trials:
        row = facts.of_trial(trial)
        score = interval(row["score"], row["low"], row["high"])
        rows.append([row["name"], row["state"], row["reason"], score, row["step"]])
    return table(["trial", "state", "reason", "score", "step"], rows)


def _trial_text(run: Run, told: dict[str, Any]) -> str:
    from metasearch.observe.text import flat, interval, number, span

    rows: list[tuple[str, object]] = [
        ("state", f"{told['state']} {told['reason']}".strip()),
        *([("because", why)] if (why := told["detail"] or _WHY.get(told["reason"], "")) else []),
        *([("broken off", f"{told['behind']}, in a report")] if told["behind"] else []),
        ("score", interval(told["score"], told["low"], told["high"])),
        ("before", f"{number(told['before'])} without adaptation"),
        ("spent", f"{told['step']:,} gradient evaluations, {span(told['seconds'] or 0)}"),
        *([("ran on", ", then ".join(told["ran_on"]))] if told["ran_on"] else []),
        ("folder", short(run.folder / "trials" / told["name"])),
    ]
    if told["samples"]:
        rows.append(("samples", told["samples"][-1]))
    parts = [f"{told['name']} of {run.info.name}", pairs(rows)]
    if told["curve"]:
        curve = [[p["step"], interval(p["score"], p["low"], p["high"])] for p in told["curve"]]
        parts += ["", table(["step", "score"], curve)]
    parts += ["", "recipe", pairs(flat(told["config"]))]
    if told["traceback"]:
        parts += ["", "error", told["traceback"].rstrip()]
    return "\n".join(parts)


def tensorboard(
    run: RunName,
    port: Annotated[int, typer.Option(help="Where to listen on this machine.")] = 6006,
) -> None:
    """Serve a run's TensorBoard on this machine and print the address to open.

    Example: metasearch tensorboard quickstart --port 6007
    """
    from metasearch.observe.tensorboard import deep_link, serve

    folder = find_run(run) / "tensorboard"
    if not folder.is_dir():
        raise RunError(f"{folder}: not there; the run has written nothing for TensorBoard yet.")
    serve(folder, port)
    result(deep_link(port))
    note(f"from elsewhere: ssh -L {port}:localhost:{port} this-machine, then the same address")
    note("Ctrl-C ends it")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
