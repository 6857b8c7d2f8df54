"""The verb `train`: one recipe, without a search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metasearch.cli.launch import launch
from metasearch.cli.look import status_text
from metasearch.cli.output import Json, note, result, result_json
from metasearch.cli.places import called, command, home, short
from metasearch.errors import RunError
from metasearch.search.addresses import to_search

if TYPE_CHECKING:
    from metasearch.search.config import SearchFile
    from metasearch.search.ledger import Run


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="CONFIG|BUNDLE", help="A recipe, a bundle, or a trial.")
    ],
    *,
    name: Annotated[str | None, typer.Option(help="What the run is called.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the trial; else as in the recipe.")] = None,
    bundle: Annotated[
        Path | None, typer.Option("-o", "--out", help="Export it into this bundle, too.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a setting of the recipe."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train one recipe without a search: of a bundle, of a trial's folder, or of a file.

    Interrupted, the same command goes on. What is searched in a file has to be fixed by -s.

    Example: metasearch train quickstart-best --seed 1 -o again
    """
    from metasearch.cli import facts
    from metasearch.search.recipe import read_recipe

    given = [] if seed is None else [f"trial.seed={seed}"]
    file = read_recipe(recipe, [*(settings or []), *given], name)
    if bundle is not None and bundle.exists():
        raise RunError(f"{short(bundle)} exists already. Choose another place, or remove it.")
    folder = to_search(home() / file.search.name)
    summary = launch(file, folder)
    told = facts.of_run(summary.run)
    if summary.exit_code:
        result_json({**told, "bundle": None}) if as_json else result(status_text(summary.run))
        if summary.interrupted:
            note("interrupted; the same command goes on with it")
        raise typer.Exit(summary.exit_code)
    if bundle is not None:
        _export(file, summary.run, bundle)
    if as_json:
        result_json({**told, "bundle": str(bundle) if bundle else None})
        return
    result(status_text(summary.run))
    if bundle is not None:
        result(f"written to {short(bundle)}")
    else:
        note(f"export it: {command('export', called(folder))}")


def _export(file: SearchFile, run: Run, bundle: Path) -> None:
    from metasearch.search.export import export

    search = file.search
    export(run, bundle, trial=0, confirm=search.confirm, baselines=search.baselines, tell=note)
