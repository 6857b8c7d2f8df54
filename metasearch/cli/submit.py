"""The verb `submit`: a search as a job on a cluster that is up, from elsewhere."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from metasearch.cli.output import Json, note, result, result_json
from metasearch.cli.search import Open
from metasearch.errors import ConfigError

Name = Annotated[str | None, typer.Option(help="What the run is called; else as the file.")]


def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A search space in YAML.")],
    *,
    out: Annotated[str, typer.Option(help="Folder of runs, as the cluster's machines see it.")],
    address: Annotated[
        str, typer.Option(help="Of the job server, mostly the near end of a tunnel.")
    ] = "http://127.0.0.1:8265",
    name: Name = None,
    working_dir: Annotated[
        Path | None, typer.Option(help="Folder to send along, with the file in it; else the file.")
    ] = None,
    max_concurrent: Annotated[int | None, typer.Option(help="Trials at once: a share.")] = None,
    gpus_per_trial: Annotated[str | None, typer.Option(help="0.5: two share one; auto.")] = None,
    even_open: Open = False,
    as_json: Json = False,
) -> None:
    """Run a search as a job of a Ray cluster; the same again goes on with it.

    Example: metasearch submit leaves.yaml --out /shared/runs --max-concurrent 8
    """
    from metasearch.cluster.jobs import JobServer
    from metasearch.cluster.token import read_token
    from metasearch.search.config import SearchFile

    loaded = SearchFile.load(file)
    called = name or loaded.search.name
    server = JobServer(address, read_token())
    flags = {"max-concurrent": max_concurrent, "gpus-per-trial": gpus_per_trial}
    with _folder(file, working_dir) as (folder, inside):
        command = ["metasearch", "search", inside, "--name", called, "--out", out, *_words(flags)]
        command += ["--i-know-this-is-open"] if even_open else []
        job = server.submit(f"metasearch-{called}-{secrets.token_hex(3)}", command, folder)
    if as_json:
        result_json({"job": job, "run": f"{out}/{called}", "command": command})
        return
    result(job)
    note(f"watch:\n  ray job logs {job} --address {address} --follow")
    note(f"  metasearch status {out}/{called}   # on a machine of the cluster")
    note(f"stop, to go on later:\n  ray job stop {job} --address {address}")


def _words(flags: Mapping[str, object]) -> list[str]:
    given = {key: str(value) for key, value in flags.items() if value is not None}
    return [word for key, value in given.items() for word in (f"--{key}", value)]


@contextmanager
def _folder(file: Path, working_dir: Path | None) -> Iterator[tuple[Path, str]]:
    """What goes up, and where the search file is in it."""
    if working_dir is not None:
        if not file.resolve().is_relative_to(working_dir.resolve()):
            raise ConfigError(f"{file} is not in --working-dir {working_dir}. Put it there.")
        yield working_dir, file.resolve().relative_to(working_dir.resolve()).as_posix()
        return
    with tempfile.TemporaryDirectory() as place:
        shutil.copyfile(file, Path(place) / "search.yaml")
        yield Path(place), "search.yaml"
