"""The verb `report`: a run as one HTML file. Loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metasearch.cli.output import Json, note, result, result_json
from metasearch.cli.places import RunName, find_run, short


def report(
    run: RunName,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The file; else report.html in the run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a run as one HTML file to keep or to mail; it may be running.

    Example: metasearch report quickstart -o quickstart.html
    """
    from metasearch.report import write_report

    path = write_report(find_run(run), out)
    if as_json:
        result_json({"file": str(path), "bytes": path.stat().st_size})
    else:
        result(short(path))


def leave_report(folder: Path) -> None:
    """Write the page into a run folder at the end of a search or an export, and say where."""
    from metasearch.report import leave_report as leave

    leave(Path(short(folder)), note)
