"""The verb `reproduce`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from metasearch.cli.look import find_trial
from metasearch.cli.output import Json, note, result, result_json, table
from metasearch.cli.places import TRIAL, RunName, find_run

if TYPE_CHECKING:
    from metasearch.search.reproduce import Compared


def reproduce(
    run: RunName,
    trial: Annotated[str, TRIAL],
    as_json: Json = False,
) -> None:
    """Run one trial again, alone, and compare all that it said, to the last digit.

    Example: metasearch reproduce quickstart 3
    """
    from metasearch.search.ledger import open_run
    from metasearch.search.reproduce import reproduce as rerun

    folder = find_run(run)
    record = find_trial(open_run(folder), trial)
    note(f"running {record.info.name} again")
    found = list(rerun(record, folder))
    same = all(each.same for each in found)
    if as_json:
        result_json({"trial": record.number, "same": same, "reports": [_row(f) for f in found]})
    else:
        rows = [[f.step, *map(repr, f.scores), _verdict(f)] for f in found]
        result(table(["step", "then", "now", ""], rows))
        result("the same to the last digit" if same else _advice())
    if not same:
        raise typer.Exit(1)


def _verdict(found: Compared) -> str:
    seen = "" if found.before.whole else f", on the {len(found.before.per_task)} tasks judged then"
    return ("same" if found.same else "DIFFERS") + seen


def _row(found: Compared) -> dict[str, object]:
    return {
        "step": found.step,
        "then": found.scores[0],
        "now": found.scores[1],
        "same": found.same,
    }


def _advice() -> str:
    return (
        "It differs. A trial is a function of its config, the code and the data on one kind of "
        "machine: compare versions and machine with the run's manifest.json."
    )
