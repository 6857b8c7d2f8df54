"""The verb `init`: a search file to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metasearch.cli.output import Json, note, result, result_json
from metasearch.cli.places import command, short, spaces
from metasearch.errors import ConfigError

if TYPE_CHECKING:
    from metasearch.tasks.base import TaskSource

SCHEMA = "metasearch.schema.json"


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The search file to write.")] = Path(
        "search.yaml"
    ),
    data: Annotated[
        str, typer.Option(metavar="SOURCE", help="What to learn from, as `tasks` takes it.")
    ] = "glyphs",
    family: Annotated[
        str | None, typer.Option(help="Of models; else VAEs, or what fits the data.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a search file to start from, explained line by line, with completion for editors.

    Example: metasearch init leaves.yaml --data my-images --family gan
    """
    note(f"reading {data}")  # before torch is loaded, which takes a while
    from metasearch.tasks import parse_source

    told = write(file, parse_source(data), family)
    if as_json:
        result_json(told)
        return
    result(f"written: {short(file)}, and {told['schema']} for editors")
    result("next")
    for words in (("space", "check", file), ("search", file, "--dry-run"), ("search", file)):
        result(f"  {command(*words)}")


def write(file: Path, source: TaskSource, family: str | None = None) -> dict[str, object]:
    """Write a search file over a source, and the schema beside it; returns what was written.

    Raises:
        ConfigError: the file is there already, or the family does not fit the data.
        DataError: the source cannot be read, or is too small.
    """
    from metasearch.search.draft import draft, fitted
    from metasearch.search.editor import json_schema

    if file.exists():
        raise ConfigError(f"{file} is there already. Give another name, or remove it.")
    source, opened = fitted(source)
    text = draft(source, opened.domains, family, spaces())
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = file.with_name(SCHEMA)
    schema.write_text(json.dumps(json_schema()) + "\n", encoding="utf-8")
    file.write_text(f"# yaml-language-server: $schema={SCHEMA}\n{text}", encoding="utf-8")
    return {
        "file": str(file),
        "schema": short(schema),
        "tasks": source.name,
        "shot": source.shot,
        "query": source.query,
        "anchor": source.anchor,
    }
