"""Verbs to prepare a search: data, what there is to search, and this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metasearch.cli.output import Json, note, pairs, result, result_json, table
from metasearch.cli.places import command, find_run, short
from metasearch.errors import ConfigError, EnvironmentFault, RunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from metasearch.registry import Table


def tasks(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="glyphs, glyphs:SIZE, pairs, strokes, omniglot:PATH, a path."
        ),
    ],
    sheet: Annotated[
        Path | None, typer.Option("-o", "--sheet", help="Write a contact sheet as PNG.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Write a search file over it to start from.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say in plain words how a data source is read, split, and what was left out and why.

    Example: metasearch tasks my-images/ -o sheet.png --init leaves.yaml
    """
    note(f"reading {source}")  # before torch is loaded, which takes a while
    from metasearch.cli.begin import write
    from metasearch.search.draft import fitted
    from metasearch.tasks import contact_sheet, parse_source, summary
    from metasearch.tasks.words import explain
    from metasearch.tasks.wrapping import looked_at

    found, whole = fitted(parse_source(source))
    opened = looked_at(whole)
    told = summary(opened)
    told["explained"] = explain(found, told)
    told["search_file"] = write(init, found)["file"] if init else None
    if sheet is not None:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(opened, sheet)
    if as_json:
        result_json({**told, "sheet": str(sheet) if sheet else None})
    else:
        result(_tasks_text(source, told))
    if sheet is not None:
        note(f"contact sheet: {short(sheet)}")
    if init is None:
        note(f"begin a search with: {command('init', 'search.yaml', '--data', source)}")
    else:
        note(f"search file: {short(init)}; see {command('search', short(init), '--dry-run')}")


def _tasks_text(source: str, told: Mapping[str, Any]) -> str:
    rows: list[tuple[str, object]] = [
        ("holds", f"{told['tasks']:,} tasks, {told['images']:,} images"
                  f"{', augmented' if told['augmented'] else ''}"),
        ("leaks", _leaks(told["leaks"])),
        ("fingerprint", told["fingerprint"][:16]),
    ]  # fmt: skip
    words = "\n".join(f"  {sentence[0].upper()}{sentence[1:]}." for sentence in told["explained"])
    splits = []
    for name, split in told["splits"].items():
        per = split["images_per_task"]
        spread = f"{per['min']} to {per['max']}" if per["min"] != per["max"] else per["min"]
        splits.append([name, split["tasks"], split["groups"], split["images"], spread])
    head = ["split", "tasks", "groups", "images", "images per task"]
    return f"{source}\n{words}\n\n{pairs(rows)}\n\n{table(head, splits)}"


def _leaks(leaks: Mapping[str, Any]) -> str:
    found = f"{leaks['same_images']} same images, {leaks['near_classes']} near classes"
    text = "none between splits" if leaks["clean"] else f"{found} between splits"
    dropped = f"; {len(leaks['dropped'])} classes were dropped as twins" if leaks["dropped"] else ""
    examples = "".join(f"\n    {example}" for example in leaks["examples"])
    return text + dropped + examples


def components(
    which: Annotated[
        str | None, typer.Argument(help="A room, such as models, or a member, such as vae.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List every model, algorithm, selector, score and task source with its settings.

    Example: metasearch components algorithms
    """
    from metasearch.registry import nearest

    rooms = _rooms()
    shown: dict[str, dict[str, type]] = {room: dict(table) for room, table in rooms.items()}
    if which is not None and which in rooms:
        shown = {which: shown[which]}
    elif which is not None:
        shown = {room: {which: found[which]} for room, found in shown.items() if which in found}
        if not shown:
            known = sorted({name for found in rooms.values() for name in found})
            raise ConfigError(
                f"nothing is called {which!r}.{nearest(which, [*rooms, *known])} Allowed are the "
                f"rooms {', '.join(rooms)}, and their members, which `components` lists."
            )
    told: dict[str, dict[str, Any]] = {
        room: {name: _member(cls, rooms[room].guests().get(name)) for name, cls in found.items()}
        for room, found in shown.items()
    }
    if as_json:
        result_json(told)
        return
    for room, members in told.items():
        for name, member in members.items():
            guest = f"  (from {member['from']})" if member["from"] != "metasearch" else ""
            result(f"{room}: {name}  {member['what']}{guest}")
            rows = [(s["name"], _setting(s)) for s in member["settings"]]
            result(pairs(rows, indent="    ") if rows else "    no settings")


def _rooms() -> dict[str, Table]:
    from metasearch.search.advisors import SAMPLERS
    from metasearch.search.stopping import PRUNERS
    from metasearch.trial.rooms import ROOMS

    return {**ROOMS, "samplers": SAMPLERS, "pruners": PRUNERS}


def _member(cls: type, guest: str | None) -> dict[str, Any]:
    from metasearch.registry import comments, settings, to_data

    said = comments(cls)
    return {
        "what": (cls.__doc__ or "").strip().partition("\n")[0],
        "from": guest or "metasearch",
        "settings": [
            {
                "name": setting.name,
                "allowed": setting.allowed,
                "required": setting.required,
                "default": to_data(setting.default),
                "meaning": said.get(setting.name, ""),
            }
            for setting in settings(cls)
            if setting.name != "name"
        ],
    }


def _setting(setting: Mapping[str, Any]) -> str:
    from metasearch.space import inline

    default = "required" if setting["required"] else inline(setting["default"])
    said = f"  # {setting['meaning']}" if setting["meaning"] else ""
    return f"{setting['allowed']}; {default}{said}"


def doctor(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run to look into; else this machine.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster to try.")] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Repair what can be, of a run.")] = False,
    as_json: Json = False,
) -> None:
    """Check this machine, and a cluster if asked; or whether a run folder is whole.

    Example: metasearch doctor
    """
    from metasearch.cli.machine import examine, examine_folder, show_findings

    findings = examine_folder(find_run(run), mend=mend) if run is not None else examine(address)
    show_findings(findings, as_json=as_json)
    if any(finding.verdict == "fail" for finding in findings):
        failed = ", ".join(f.what for f in findings if f.verdict == "fail")
        if run is not None:
            raise RunError(f"{run} is damaged: {failed}. See above.")
        raise EnvironmentFault(f"not fit to run searches: {failed}. See above.")
