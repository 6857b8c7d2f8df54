"""Verbs that use what a search found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metasearch.cli.output import Json, note, result, result_json, table
from metasearch.cli.places import RunName, command, find_run, short
from metasearch.cli.report import leave_report
from metasearch.errors import ConfigError
from metasearch.search.home import fetched, home_of, looked_at

if TYPE_CHECKING:
    from torch import Tensor

    from metasearch.bundle.adapted import Adaptation
    from metasearch.bundle.images import Images
    from metasearch.bundle.load import Bundle
    from metasearch.search.ledger import Run

BundleArg = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder `export` wrote.")]


Trial = Annotated[
    int | None, typer.Option(help="Export this trial, instead of ranking the best again.")
]
OneSe = Annotated[
    bool, typer.Option("--one-se", help="Take the cheapest within one standard error.")
]
Repeats = Annotated[
    int | None, typer.Option(min=0, help="Train the winner again with so many other seeds.")
]
Ensemble = Annotated[
    Literal["none", "mixture", "greedy", "soup"] | None,
    typer.Option(help="Join the best trials, if that is better than one on confirm tasks."),
]
Again = Annotated[
    bool, typer.Option("--again", help="Open the test tasks for another trial; recorded.")
]


def export(
    run: RunName,
    *,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The bundle's folder; else RUN-best.")
    ] = None,
    trial: Trial = None,
    one_se: OneSe = False,
    repeats: Repeats = None,
    ensemble: Ensemble = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Rank the best trials again on fresh tasks, open the test tasks once, and pack the winner.

    Example: metasearch export quickstart -o quickstart-best
    """
    from metasearch.cli.exported import report_text
    from metasearch.search.config import SearchFile
    from metasearch.search.export import export as pack
    from metasearch.search.ledger import open_run
    from metasearch.search.process import limit_threads

    folder = find_run(run)
    bundle = looked_at(out) if out else fetched(folder.with_name(f"{folder.name}-best"))
    search = SearchFile.load(folder / "search.yaml").search
    limit_threads(search.cpus_per_trial)
    asked: dict[str, Any] = {
        "rule": "one_se" if one_se else None,
        "repeats": repeats,
        "ensemble": ensemble,
    }
    confirm = replace(search.confirm, **{k: v for k, v in asked.items() if v is not None})
    report = pack(
        open_run(folder),
        bundle,
        trial=trial,
        confirm=confirm,
        baselines=search.baselines,
        again=again,
        tell=note,
    )
    leave_report(folder)
    if as_json:
        result_json({"bundle": str(bundle), "report": report})
        return
    result(report_text(report))
    result(f"written to {short(bundle)}")
    _tell_how_to_use(open_run(folder), report["trial"], bundle)


def _tell_how_to_use(run: Run, trial: int, bundle: Path) -> None:
    from metasearch.search.examples import examples_of

    examples = examples_of(run, trial)
    home_of(run.folder).push("examples")
    picture = ("--support", short(examples), "-n", 16, "-o", "samples.png")
    note(f"use it: {command('generate', short(bundle), *picture)}")


def generate(
    bundle: BundleArg,
    *,
    support: Annotated[
        Path,
        typer.Option(help="A folder of images of one class (or trainA, trainB, testA), or images."),
    ],
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE", help="More, where --support is photos/*.jpg."),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(metavar="COLSxROWS", help="The image is a contact sheet of so many, as 5x2."),
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", help="Photographs: cut each to what stands on its paper.")
    ] = False,
    n: Annotated[int, typer.Option("-n", min=1, help="How many images to draw.")] = 16,
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture.")] = Path("samples.png"),
    each: Annotated[
        Path | None, typer.Option(help="Write every image alone into this folder, too.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, help="Adapt with so many steps, not as trained.")
    ] = None,
    program: Annotated[
        Path | None,
        typer.Option(help="Write the adapted generator as a program, too: FILE.pt2, or FILE.onnx."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same images.")] = 0,
    as_json: Json = False,
) -> None:
    """Adapt a bundle to a few images of a class and draw more of it.

    A bundle that translates is given two domains, in folders trainA and trainB; it takes the images
    of trainA over, or those of testA, if there are any.

    Example: metasearch generate quickstart-best --support my-images -n 16 -o samples.png

    Example: metasearch generate quickstart-best --support sheet.jpg --grid 5x1
    """
    from metasearch.bundle.adapted import picture, save_images
    from metasearch.bundle.load import load_bundle

    loaded, support = load_bundle(looked_at(bundle)), looked_at(support)
    images, labels = _images(loaded, [support, *(more or [])], grid, crop)
    adapted = loaded.adapt(images, steps=steps, seed=seed, labels=labels)
    samples, asked = _drawn(adapted, support, n, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture(adapted, samples, asked).save(out, format="PNG")
    if each is not None:
        save_images(samples, each)
    written = adapted.write_program(program) if program else None
    folder = str(each) if each else None
    told = {"picture": str(out), "images": len(samples), "folder": folder, "program": written}
    result_json(told) if as_json else result(drawn_text(told))


def drawn_text(told: dict[str, Any]) -> str:
    """What was drawn, and of a program what whoever runs it has to know."""
    lines = [f"{told['images']} images, your own to the left: {short(Path(told['picture']))}"]
    if program := told["program"]:
        takes = ", ".join(
            f"{name} [{', '.join(map(str, one['shape']))}] ({one['drawn']})"
            for name, one in program["inputs"].items()
        )
        lines.append(
            f"program: {short(Path(program['file']))} takes {takes} and gives {program['output']}; "
            f"at most {program['difference']:.1g} from the model's"
        )
    return "\n".join(lines)


def _images(
    bundle: Bundle, support: list[Path], grid: str | None, crop: bool
) -> tuple[Images, list[int] | None]:
    """What to adapt to, and the class of each image where the model goes by classes."""
    from metasearch.bundle.contact import contact_sheet
    from metasearch.bundle.crop import subjects

    whole = support if len(support) > 1 else support[0]
    if grid is not None:
        if isinstance(whole, list):
            raise ConfigError("--grid is of one picture; give one, or no grid.")
        sheet = contact_sheet(whole, grid)
        return (subjects(sheet) if crop else sheet), None
    if crop:
        return subjects(whole), None
    by_class = any("y" in part.adapter.learner.family.domains for part in bundle.parts)
    return labelled(whole) if by_class and isinstance(whole, Path) else (whole, None)


def _drawn(adapted: Adaptation, support: Path, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """Images that were drawn and, if they are translations, those they were made of."""
    from metasearch.bundle.domains import folders_of

    if len(adapted.domains) == 1:
        return adapted.sample(n, seed=seed), None
    folder = folders_of(support).get("asked")
    if folder is None:
        return adapted.sample(n, seed=seed), adapted.turns(n)
    return adapted.translate(folder, seed=seed)[:n], adapted.seen(folder)[:n]


def evaluate(
    bundle: BundleArg,
    *,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Other data, as `metasearch tasks` takes it."),
    ] = None,
    split: Annotated[
        Literal["search", "confirm", "test"], typer.Option(help="Of the source.")
    ] = "test",
    protocol: Annotated[
        Literal["gmn"] | None,
        typer.Option(help="Not the score: nats of an image after 0 to 9 others of its class."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Of the protocol.")] = 1000,
    importance: Annotated[int, typer.Option(min=1, help="Samples of a bound, in it.")] = 1000,
    as_json: Json = False,
) -> None:
    """Score a bundle on unseen tasks again: of its own source, or of other data.

    Example: metasearch evaluate quickstart-best --tasks my-images/

    Example: metasearch evaluate my-vae --protocol gmn --episodes 200 --importance 100
    """
    from metasearch.bundle.evaluate import evaluate as judge
    from metasearch.bundle.evaluate import few_shot, other_source
    from metasearch.bundle.load import load_bundle
    from metasearch.observe.text import interval
    from metasearch.trial.gmn import Protocol

    loaded = load_bundle(looked_at(bundle))
    source = None if tasks is None else other_source(loaded, tasks)
    if protocol is not None:
        asked = Protocol(episodes=episodes, importance=importance)
        found = few_shot(loaded, asked, source, split)
        (result_json if as_json else _print_few_shot)(found)
        return
    told = judge(loaded, source, split)
    if as_json:
        result_json(told)
        return
    score, before = told["score"], told["before"]
    better = "lower" if score["direction"] == "minimize" else "higher"
    mean = interval(told["mean"], told["low"], told["high"])
    result(f"{score['name']} in {score['unit']}, {better} is better: {mean}")
    result(f"without adapting: {interval(before['mean'], before['low'], before['high'])}")
    note(f"{told['tasks']} tasks of split {split!r} of {told['source']}")


def _print_few_shot(told: dict[str, Any]) -> None:
    """One line per model and way to draw, one column per number of images seen before."""
    models = {"the recipe": told["nats"], **told["floors"]}
    rows = [
        [name, sampler.replace("_", " "), *(f"{at['mean']:.1f}" for at in curve)]
        for name, curves in models.items()
        for sampler, curve in curves.items()
    ]
    seen = [f"t={t}" for t in range(len(rows[0]) - 2)]
    result("nats per image after t others of its class, lower is better")
    result(table(["", "images drawn", *seen], rows))
    note(
        f"{told['episodes']} episodes of {told['classes']} classes of split {told['split']!r} of "
        f"{told['source']}, bounds of {told['importance']} samples. With replacement, as in the "
        "published tables, an image may be among those seen before it."
    )
    if not told["binary"]:
        note("pixels are not black or white: these are cross-entropies, not nats of a probability")


def labelled(support: Path) -> tuple[Path | list[Path], list[int] | None]:
    """Images with a label each, where a folder holds one of nothing but folders: its classes."""
    inside = sorted(support.iterdir()) if support.is_dir() else []
    inside = [path for path in inside if not path.name.startswith(".")]
    if not inside or not all(path.is_dir() for path in inside):
        return support, None
    files, labels = [], []
    names = [path.name for path in inside if path.name != "unlabelled"]
    for path in inside:
        own = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        files += own
        labels += [names.index(path.name) if path.name in names else -1] * len(own)
    return files, labels
