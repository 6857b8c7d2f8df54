"""The verb `refine`: go on with what a search found."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from metasearch.cli.launch import conclude, launch
from metasearch.cli.output import Json, note
from metasearch.cli.places import RunName, find_run
from metasearch.cli.search import Concurrent, Name, Time, Where
from metasearch.search.addresses import to_search


def refine(
    run: RunName,
    *,
    trial: Annotated[int | None, typer.Option(help="Go on with this one, not the best.")] = None,
    name: Name = None,
    trials: Annotated[int, typer.Option(min=1, help="How many generations.")] = 12,
    share: Annotated[
        float, typer.Option(min=0.01, max=10.0, help="Of the budget, in each of them.")
    ] = 0.5,
    time: Time = None,
    max_concurrent: Concurrent = None,
    backend: Where = None,
    as_json: Json = False,
) -> None:
    """Train the best trial on at other rates and schedules, each time from the best so far.

    Example: metasearch refine quickstart --trials 8
    """
    from metasearch.search.ledger import open_run
    from metasearch.search.refine import lay_out, pick

    folder = find_run(run)
    found = open_run(folder)
    record = pick(found, trial)
    asked = {
        "trials": trials,
        "time": time,
        "max_concurrent": max_concurrent,
        "backend": backend,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    place = to_search(folder.with_name(name or f"{folder.name}-refined"))
    file = lay_out(found, record, place, given, share=share)
    score = record.outcome.score if record.outcome else None
    note(f"from {record.info.name}, {math.nan if score is None else score:.4g} on search tasks")
    raise typer.Exit(conclude(launch(file, place), as_json=as_json))
