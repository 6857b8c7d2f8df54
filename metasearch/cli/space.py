"""The verbs `space ...`: look at a search file before anything runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from metasearch.cli.output import Json, note, result, result_json, table
from metasearch.cli.places import short

space_verbs = typer.Typer(no_args_is_help=True, help="Look at search files.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="A search file, in YAML.")]
Set = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a setting of the file."),
]


@space_verbs.command()
def check(
    file: File,
    settings: Set = None,
    draws: Annotated[int, typer.Option(min=0, help="Draw and build so many recipes.")] = 200,
    as_json: Json = False,
) -> None:
    """Check every branch of a search file, and draw and build recipes from it.

    Example: metasearch space check search_spaces/glyphs-vae.yaml
    """
    if sys.stderr.isatty():  # elsewhere the first line is the first fault, for editors
        note(f"checking every branch of {short(file)}")
    from metasearch import space
    from metasearch.cli.look import draws_table
    from metasearch.rng import Stream
    from metasearch.search.config import SearchFile
    from metasearch.search.lint import findings

    found = SearchFile.load(file, settings or [])
    for i in range(draws):
        found.trial(space.sample(found.space, space.random_suggester(Stream(0).at("check", i))))
    size = space.size(found.space)
    warnings = findings(str(file), found, settings or [])
    if as_json:
        told = {
            "file": str(file),
            "draws": [vars(draw) for draw in found.draws],
            "configurations": size.configurations,
            "branches": size.branches,
            "built": draws,
            "warnings": warnings,
        }
        result_json(told)
        return
    result(draws_table(found.draws))
    result()
    for warning in warnings:
        note(f"warning: {warning}")
    result(f"{short(file)} is sound: {size}; {draws} recipes drawn and built")


@space_verbs.command()
def show(file: File, settings: Set = None, as_json: Json = False) -> None:
    """Show every setting of a search, defaults written out, and where each comes from.

    Example: metasearch space show search_spaces/glyphs-vae.yaml -s search.trials=10
    """
    from metasearch.search.origins import origins
    from metasearch.space import inline

    told = origins(file, settings or [])
    if as_json:
        result_json([vars(one) for one in told])
        return
    rows = [[one.path, inline(one.value), one.origin] for one in told]
    result(table(["setting", "value", "from"], rows))


@space_verbs.command()
def schema(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write it there, not to the terminal.")
    ] = None,
) -> None:
    """Print the JSON schema of search files, by which an editor completes and checks them.

    `metasearch init` writes it beside a new file and names it there.

    Example: metasearch space schema -o search.schema.json
    """
    from metasearch.search.editor import json_schema

    text = json.dumps(json_schema(), indent=1)
    if out is None:
        result(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n", encoding="utf-8")
    note(f"written to {short(out)}; begin a search file with:")
    result(f"# yaml-language-server: $schema={out}")
