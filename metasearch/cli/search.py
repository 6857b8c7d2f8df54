"""Verbs that search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metasearch.cli.launch import Resume, conclude, launch
from metasearch.cli.output import Json, note, pairs, result, result_json
from metasearch.cli.places import RunName, called, command, find_run, home, short, spaces
from metasearch.cli.rehearse import rehearse, remark
from metasearch.cli.report import leave_report
from metasearch.errors import RunError
from metasearch.search.addresses import to_search
from metasearch.search.home import fetched, home_of

if TYPE_CHECKING:
    from metasearch.search.config import SearchFile
    from metasearch.search.ledger import Run

Name = Annotated[str | None, typer.Option(help="What the run is called; else as the file.")]
Out = Annotated[
    Path | None,
    typer.Option(help="The folder of runs to put it in, or s3://...; else METASEARCH_HOME."),
]
Trials = Annotated[int | None, typer.Option(help="At most so many trials.")]
Time = Annotated[str | None, typer.Option(help="Ask no new trials after it: 150s, 20m, 1h30m.")]
Gradients = Annotated[
    int | None, typer.Option(help="Gradient evaluations of all trials together, at most.")
]
GpuHours = Annotated[float | None, typer.Option(help="Hours of a GPU of all trials, at most.")]
Seed = Annotated[int | None, typer.Option(help="Of the sampler.")]
Address = Annotated[
    str | None, typer.Option(envvar="RAY_ADDRESS", help="Of a Ray cluster to join.")
]
Open = Annotated[
    bool, typer.Option("--i-know-this-is-open", help="Join a cluster that asks for no token.")
]
Concurrent = Annotated[int | None, typer.Option(help="Trials at once; else as many as fit.")]
Gpus = Annotated[
    float | None,
    typer.Option(
        parser=lambda text: text if text == "auto" else float(text),
        metavar="FLOAT|auto",
        help="GPUs of a trial; 0.5: two share one; auto: as many as fit into its memory.",
    ),
]
Cpus = Annotated[int | None, typer.Option(help="Cores, and threads, of a trial.")]
Where = Annotated[
    Literal["ray", "local"] | None, typer.Option(help="Ray Tune, or one by one in this process.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change a setting of the file."),
]


def search(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A search space in YAML.")],
    *,
    name: Name = None,
    out: Out = None,
    trials: Trials = None,
    time: Time = None,
    gradients: Gradients = None,
    gpu_hours: GpuHours = None,
    seed: Seed = None,
    address: Address = None,
    even_open: Open = False,
    max_concurrent: Concurrent = None,
    gpus_per_trial: Gpus = None,
    cpus_per_trial: Cpus = None,
    backend: Where = None,
    settings: Set = None,
    resume: Annotated[
        Literal["auto", "never", "must"],
        typer.Option(help="Whether to go on with a run of this name."),
    ] = "auto",
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on even if the space grew; it may only widen.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do and take.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Search a space, or go on with a search that was interrupted.

    Example: metasearch search my.yaml --trials 50 -s trial.tasks.shot=5
    """
    flags = {
        "name": name,
        "trials": trials,
        "time": time,
        "gradients": gradients,
        "gpu_hours": gpu_hours,
        "seed": seed,
        "max_concurrent": max_concurrent,
        "gpus_per_trial": gpus_per_trial,
        "cpus_per_trial": cpus_per_trial,
        "backend": backend,
    }
    loaded = _load(file, settings or [], flags)
    folder = to_search((out or home()) / loaded.search.name)
    how: Resume = "extend" if extend and resume == "auto" else resume
    if dry_run:
        remark(file, loaded, settings or [])
        rehearse(loaded, folder, as_json=as_json)
        return
    summary = launch(loaded, folder, resume=how, address=address, even_open=even_open)
    raise typer.Exit(conclude(summary, as_json=as_json))


def resume(
    run: RunName,
    *,
    trials: Trials = None,
    time: Time = None,
    gradients: Gradients = None,
    gpu_hours: GpuHours = None,
    address: Address = None,
    even_open: Open = False,
    max_concurrent: Concurrent = None,
    gpus_per_trial: Gpus = None,
    cpus_per_trial: Cpus = None,
    backend: Where = None,
    as_json: Json = False,
) -> None:
    """Go on with a run, for longer if --trials, --time or another limit say so.

    Example: metasearch resume quickstart --trials 40
    """
    folder = find_run(run)
    flags = {
        "trials": trials,
        "time": time,
        "gradients": gradients,
        "gpu_hours": gpu_hours,
        "max_concurrent": max_concurrent,
        "gpus_per_trial": gpus_per_trial,
        "cpus_per_trial": cpus_per_trial,
        "backend": backend,
    }
    loaded = _load(folder / "search.yaml", [], flags)
    place = to_search(folder)
    summary = launch(loaded, place, resume="must", address=address, even_open=even_open)
    raise typer.Exit(conclude(summary, as_json=as_json))


def quickstart(
    *,
    name: Annotated[str, typer.Option(help="What the run is called.")] = "quickstart",
    out: Out = None,
    trials: Trials = None,
    time: Time = None,
    seed: Seed = None,
    max_concurrent: Concurrent = None,
    backend: Where = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Search built-in glyphs for a few minutes, export the winner, and say what to do with it.

    Example: metasearch quickstart --time 10m
    """
    flags = {
        "name": name,
        "trials": trials,
        "time": time,
        "seed": seed,
        "max_concurrent": max_concurrent,
        "backend": backend,
    }
    loaded = _load(spaces() / "quickstart.yaml", settings or [], flags)
    folder = to_search((out or home()) / loaded.search.name)
    bundle = folder.with_name(f"{folder.name}-best")
    if home_of(bundle).names() and "manifest.json" not in home_of(folder).names():
        raise RunError(
            f"{short(bundle)} is of an earlier search. Remove it, or give another --name."
        )
    summary = launch(loaded, folder)
    if summary.interrupted or summary.exit_code:
        raise typer.Exit(conclude(summary, as_json=as_json))
    report = _export_once(loaded, summary.run, bundle)
    leave_report(folder)
    _present(summary.run, bundle, report, as_json=as_json)


def _load(path: Path, settings: list[str], flags: dict[str, Any]) -> SearchFile:
    from metasearch.search.config import SearchFile

    # A duration is left as it was typed: 150 are seconds, "150" would be none.
    given = {key: value for key, value in flags.items() if value is not None}
    laid = [
        f"search.{key}={value if key == 'time' else json.dumps(value)}"
        for key, value in given.items()
    ]
    return SearchFile.load(path, [*settings, *laid])


def _export_once(file: SearchFile, run: Run, bundle: Path) -> dict[str, Any]:
    from metasearch.search.export import export
    from metasearch.search.files import read_json

    if (known := read_json(fetched(bundle) / "report.json")) is not None:
        note(f"{short(bundle)} was exported before")
        return known
    if bundle.exists():
        raise RunError(f"{short(bundle)} exists and is no bundle. Remove it, and try again.")
    return export(
        run,
        bundle,
        confirm=file.search.confirm,
        baselines=file.search.baselines,
        tell=note,
    )


def _present(run: Run, bundle: Path, report: dict[str, Any], *, as_json: bool) -> None:
    from metasearch.cli import facts
    from metasearch.cli.exported import report_text
    from metasearch.observe.text import setting
    from metasearch.search.examples import examples_of

    if as_json:
        told = facts.of_run(run)
        result_json({**told, "bundle": str(bundle), "report": report})
        return
    winner = next(t for t in run.trials if t.number == report["trial"])
    examples = examples_of(run, winner.number)
    home_of(run.folder).push("examples")
    name = called(run.folder)
    result(f"the best recipe is {winner.info.name}")
    result(pairs([(path, setting(value)) for path, value in winner.info.params.items()]))
    result()
    result(report_text(report))
    result()
    result(f"look at it: open {short(run.folder / 'report.html')} in a browser")
    result("next")
    picture = short(run.folder / "generated.png")
    for words in (
        ("best", name),
        ("tensorboard", name),
        ("generate", short(bundle), "--support", short(examples), "-n", 16, "-o", picture),
        ("search", short(spaces() / "glyphs-vae.yaml"), "--trials", 50),
    ):
        result(f"  {command(*words)}")
