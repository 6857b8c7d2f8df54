"""Where runs are, and what a person types for them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from metasearch.errors import RunError
from metasearch.registry import nearest
from metasearch.search.addresses import address_of, is_address, to_search
from metasearch.search.home import looked_at, runs_at


def home() -> Path:
    """The folder of all runs, or its address: METASEARCH_HOME, or `runs` here."""
    return Path(os.environ.get("METASEARCH_HOME") or "runs")


def run_folders() -> list[Path]:
    """The run folders in `home`, by name."""
    return runs_at(home())


def names_of_runs(incomplete: str) -> list[str]:
    """What a shell may complete the name of a run to."""
    if is_address(home()):  # not while somebody types
        return []
    return [folder.name for folder in run_folders() if folder.name.startswith(incomplete)]


def numbers_of_trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """What a shell may complete the number of a trial to."""
    try:
        ledger = find_run(ctx.params.get("run") or "") / "ledger"
    except RunError:
        return []
    asked = (file.name.partition(".")[0] for file in sorted(ledger.glob("*.asked.json")))
    numbers = [str(int(number)) for number in asked if number.isdecimal()]
    return [number for number in numbers if number.startswith(incomplete)]


def find_run(run: str) -> Path:
    """The folder of a run given as a path, an address or a name in `home`, to look at.

    Raises:
        RunError: there is none; the message names the nearest.
    """
    for place in (run, home() / run):
        folder = looked_at(place)
        if (folder / "manifest.json").is_file():
            return folder
    known = [folder.name for folder in run_folders()]
    there = f"runs in {short(home())}: {', '.join(known)}"
    there = there if known else f"there are no runs in {short(home())}"
    raise RunError(
        f"{run!r} is no run folder, and no run is called so; {there}.{nearest(run, known)}"
    )


def short(path: Path) -> str:
    """A path as seen from here, if it is below; of a copy, the address."""
    if address := address_of(path):
        return address
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def called(run: Path) -> str:
    """What to type for a run: its name, if that finds it."""
    return (
        run.name
        if to_search(home() / run.name).absolute() == to_search(run).absolute()
        else short(run)
    )


def program() -> str:
    """How this program was called, such that the next command works when pasted."""
    found = shutil.which("metasearch")
    mine = Path(sys.argv[0])
    if mine.name != "metasearch":
        return "metasearch" if found else f"{short(Path(sys.executable))} -m metasearch"
    return "metasearch" if found and Path(found).samefile(mine) else short(mine)


def command(*words: object) -> str:
    """A command line of this program, to be pasted."""
    import shlex

    return " ".join([program(), *(shlex.quote(str(word)) for word in words)])


def spaces() -> Path:
    """The folder of the search spaces that come along, in a checkout or an installed package."""
    package = Path(__file__).parents[1]
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run's name, or its folder.", autocompletion=names_of_runs
    ),
]
TRIAL = typer.Argument(help="A trial's number or name.", autocompletion=numbers_of_trials)
