"""Verbs for clusters: fill in templates, check them, keep the token, look at what is open."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from metasearch.cli.machine import show_findings
from metasearch.cli.output import Json, note, pairs, result, result_json, table
from metasearch.cli.places import short
from metasearch.errors import ConfigError, EnvironmentFault

cluster_verbs = typer.Typer(no_args_is_help=True, help="Templates for clusters.")

_SHOWN = 40  # faults; linters find hundreds in what is no script at all
_KINDS = ("slurm", "kuberay", "ssh", "aws", "gcp", "azure", "bare", "image")
Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND", help=f"{', '.join(_KINDS)}.", autocompletion=lambda: list(_KINDS)
    ),
]


@cluster_verbs.command()
def render(
    kind: Kind,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write to; else cluster-KIND.")
    ] = None,
    search: Annotated[Path | None, typer.Option(help="The search file.")] = None,
    runs: Annotated[str | None, typer.Option(help="Folder of runs on all nodes, or s3://.")] = None,
    nodes: Annotated[int | None, typer.Option(help="Nodes, or the most workers at once.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of a node.")] = None,
    gpus_per_trial: Annotated[str | None, typer.Option(help="0.5: two share one; auto.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="FIELD=VALUE", help="Another field; see `fields`."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fill in the templates of a kind of cluster, check them, and say what to type next.

    Example: metasearch cluster render slurm --search my.yaml --runs /shared/runs --nodes 4 --gpus 2
    """
    from metasearch.cluster.templates import render as fill
    from metasearch.cluster.templates import steps as what_to_type

    flags = {"search": search, "runs": runs, "nodes": nodes, "gpus": gpus,
             "gpus_per_trial": gpus_per_trial}  # fmt: skip
    given = {name: str(value) for name, value in flags.items() if value is not None}
    texts, values = fill(kind, given | _fields(settings or []))
    folder = out or Path(f"cluster-{kind}")
    brings = kind == "kuberay"  # where no disk is shared with this machine
    _write_sound(texts, folder, Path(values["search"]) if brings else None)
    steps = what_to_type(kind, values, short(folder))
    if as_json:
        result_json({"kind": kind, "folder": str(folder), "files": sorted(texts), "fields": values,
                     **steps})  # fmt: skip
        return
    result("\n".join(short(folder / name) for name in sorted(texts)))
    for word, lines in steps.items():
        if lines:
            note(f"{word}:")
            note("\n".join(f"  {line}" for line in lines))


@cluster_verbs.command()
def fields(kind: Kind, *, as_json: Json = False) -> None:
    """List what the templates of a kind leave open, with defaults.

    Example: metasearch cluster fields slurm
    """
    from metasearch.cluster.fields import FIELDS
    from metasearch.cluster.templates import fields_of

    names = sorted(fields_of(kind), key=lambda name: (FIELDS[name].default is not None, name))
    if as_json:
        result_json({n: {**vars(FIELDS[n]), "required": FIELDS[n].default is None} for n in names})
        return
    shown = {None: "to be given", "": "left out"}
    rows = [
        (n, shown.get(FIELDS[n].default, FIELDS[n].default), FIELDS[n].about, FIELDS[n].like)
        for n in names
    ]
    result(table(["field", "default", "what it is", "like"], rows))


@cluster_verbs.command()
def validate(
    place: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, or one file.")],
    *,
    as_json: Json = False,
) -> None:
    """Check templates that were filled in, offline: schemas, what is open, what cannot work.

    Example: metasearch cluster validate cluster-slurm/
    """
    from metasearch.cluster.validate import missing_linters
    from metasearch.cluster.validate import validate as look

    verdicts = [v for v in look(place) if v.kind != "other"]
    wrong = [fault for verdict in verdicts for fault in verdict.faults]
    if as_json:
        told = [{"file": str(v.file), "kind": v.kind, "faults": list(v.faults)} for v in verdicts]
        result_json({"ok": not wrong, "files": told, "not_installed": missing_linters()})
    else:
        rows = [(short(v.file), f"{v.kind}: {_count(len(v.faults))}") for v in verdicts]
        result(pairs(rows, indent=""))
    if missing := missing_linters():
        note(f"not installed, and so not asked: {', '.join(missing)}")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more; --json has all"] if len(wrong) > _SHOWN else []
        raise ConfigError("\n".join([*wrong[:_SHOWN], *more]))


@cluster_verbs.command()
def token() -> None:
    """Make the token that nodes and searches share, and say in which file it is.

    Example: metasearch cluster token
    """
    from metasearch.cluster.token import make_token

    file, new = make_token()
    result(str(file))
    note("made; bring it to every node, mode 600" if new else "was there already")


@cluster_verbs.command("up-check")
def up_check(
    *,
    address: Annotated[str, typer.Option(envvar="RAY_ADDRESS", help="HOST:PORT of the head.")],
    nodes: Annotated[int, typer.Option(help="Machines that have to be there.")] = 1,
    within: Annotated[str, typer.Option(help="Wait so long for them: 90s, 10m.")] = "0s",
    runs: Annotated[
        Path | None, typer.Option(help="Folder of runs, or s3://; see that all share it.")
    ] = None,
    even_open: Annotated[
        bool, typer.Option("--i-know-this-is-open", help="That it asks for no token is no fault.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Wait until a cluster is up, and see that it is fit for searches and closed to others.

    Example: metasearch cluster up-check --address 10.0.0.1:6379 --nodes 4 --within 10m
    """
    from metasearch.cli.up_check import look
    from metasearch.search.config import seconds

    try:
        within_s = seconds(within, "--within")
    except ValueError as error:
        raise ConfigError(f"{error}.") from error
    findings = look(
        address, nodes=nodes, within_s=within_s, runs=runs, even_open=even_open, tell=note
    )
    show_findings(findings, as_json=as_json)
    if failed := [finding.what for finding in findings if finding.verdict == "fail"]:
        wrong = ", ".join(failed)
        raise EnvironmentFault(f"{address} is not fit for a search: {wrong}. See above.")


def _fields(settings: list[str]) -> dict[str, str]:
    pairs_ = [setting.partition("=") for setting in settings]
    wrong = [name for name, equals, _ in pairs_ if not equals]
    if wrong:
        raise ConfigError(f"-s {wrong[0]}: a field and its value are joined by =, as -s nodes=4.")
    return {name.strip(): value.strip() for name, _, value in pairs_}


def _write_sound(texts: Mapping[str, str], folder: Path, search: Path | None) -> None:
    """Write what passes the checks, and nothing otherwise; with a copy of the search file."""
    from metasearch.cluster.validate import validate

    if search is not None and not search.is_file():
        raise ConfigError(f"--search {search}: no such file. Give the search file to be run.")
    with tempfile.TemporaryDirectory(prefix="metasearch-") as place:
        draft = Path(place, folder.name)
        draft.mkdir()
        for name, text in texts.items():
            (draft / name).write_text(text, encoding="utf-8")
        if search is not None:
            shutil.copyfile(search, draft / "search.yaml")
        wrong = [fault for verdict in validate(draft) for fault in verdict.faults]
        if wrong:
            raise ConfigError("\n".join(wrong).replace(str(draft), short(folder)))
        folder.mkdir(parents=True, exist_ok=True)
        for file in draft.iterdir():
            shutil.copyfile(file, folder / file.name)


def _count(faults: int) -> str:
    return "ok" if not faults else f"{faults} fault{'s' if faults > 1 else ''}"
