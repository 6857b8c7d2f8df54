"""The verb `stop`. Loads no torch."""

from __future__ import annotations

from typing import Annotated

import typer

from metasearch.cli.output import Json, note, result, result_json
from metasearch.cli.places import RunName, called, command, find_run


def stop(
    run: RunName,
    now: Annotated[
        bool, typer.Option("--now", help="Do not let running trials keep what they have.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stop a search that runs in another terminal; it can be resumed.

    Example: metasearch stop leaves
    """
    from metasearch.search.halt import halt
    from metasearch.search.ledger import open_run

    folder = find_run(run)
    note("asked to stop; running trials keep what they have (--now does not wait for that)")
    holder = halt(folder, now=now)
    left = open_run(folder)
    waiting = sum(trial.outcome is None for trial in left.trials)
    again = command("resume", called(folder))
    if as_json:
        result_json({"name": left.info.name, "pid": holder.pid, "state": left.state,
                     "to_be_continued": waiting, "resume": again})  # fmt: skip
        return
    result(f"{left.info.name} has stopped; {waiting} trials are to be continued")
    note(f"go on with: {again}")
