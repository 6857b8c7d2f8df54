"""All verbs under one command, and what happens when one of them fails."""

from __future__ import annotations

import errno
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from metasearch import __version__
from metasearch.cli import begin, best, cluster, data, look, report, search, use
from metasearch.cli.compare import compare
from metasearch.cli.dashboard import dashboard
from metasearch.cli.halt import stop
from metasearch.cli.output import note
from metasearch.cli.places import home, short
from metasearch.cli.refine import refine
from metasearch.cli.reproduce import reproduce
from metasearch.cli.space import space_verbs
from metasearch.cli.submit import submit
from metasearch.cli.train import train
from metasearch.errors import ConfigError, EnvironmentFault, MetasearchError
from metasearch.folders import cache_folder, make_private
from metasearch.search.addresses import is_address

VERBS = {
    "Search": (
        search.quickstart,
        search.search,
        search.resume,
        stop,
        train,
        refine,
        submit,
    ),
    "Look": (
        look.list_runs,
        look.status,
        look.show,
        best.best,
        compare,
        report.report,
        look.tensorboard,
        dashboard,
    ),
    "Use": (
        use.export,
        use.generate,
        use.evaluate,
        reproduce,
    ),
    "Prepare": (
        begin.init,
        data.tasks,
        data.components,
        data.doctor,
    ),
}
# What extras bring, and a bare installation for loading bundles does without.
_EXTRAS = (
    ("search", "Searching", {"matplotlib", "optuna", "ray", "scipy", "tensorboard"}),
    ("s3", "A run in a bucket", {"boto3", "botocore"}),
)


# What a whole installation brings, by the name it is imported under.
_CORE = {"PIL": "pillow", "jinja2": "jinja2", "numpy": "numpy", "pydantic": "pydantic",
         "safetensors": "safetensors", "torch": "torch", "yaml": "pyyaml"}  # fmt: skip
_WIDEST = 800  # characters of a line of an error, whatever a file holds
# What a place may be that somebody typed, and what a machine may lack.
_TYPED = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
_OF_THE_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
                   errno.EIO, errno.ESTALE}  # fmt: skip


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"metasearch {__version__}")
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[  # noqa: ARG001 - done by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Search for the recipe that meta-learns a generative model of a new class from few images.

    Begin with: metasearch quickstart
    """
    if debug:
        os.environ["METASEARCH_DEBUG"] = "1"


def build() -> typer.Typer:
    """The command with all its verbs."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback()(_options)
    for panel, verbs in VERBS.items():
        for verb in verbs:
            name = "list" if verb is look.list_runs else None
            app.command(name, help=flowing(verb.__doc__), rich_help_panel=panel)(verb)
    app.add_typer(space_verbs, name="space", rich_help_panel="Prepare")
    app.add_typer(cluster.cluster_verbs, name="cluster", rich_help_panel="Prepare")
    return app


def flowing(text: str | None) -> str:
    """A docstring whose paragraphs are lines, for terminals narrower and wider than the code."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises but with --debug."""
    return ended(lambda: build()(args=list(arguments), prog_name="metasearch"))


def ended(work: Callable[[], object]) -> int:
    """Do some work, tell how it failed if it did, and return the exit code."""
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except MetasearchError as error:
        return _tell(error)
    except Exception as error:
        known = _told(error)
        return _tell(known) if known else _crash(error)
    return 0


def _tell(error: MetasearchError) -> int:
    if _debug():
        raise error
    text = "\n".join(line[:_WIDEST] for line in str(error).split("\n"))
    # Lists of faults begin with file:line:column, which editors look for at the start of a line.
    note(text if "\n" in text else f"error: {text}")
    return error.exit_code


def _told(error: Exception) -> MetasearchError | None:
    """What is no fault of ours although we did not raise it, in our words."""
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        for extra, what, packages in _EXTRAS:
            if package in packages:
                text = f"{package} is not installed. {what} needs it: "
                return EnvironmentFault(f"{text}pip install 'metasearch[{extra}]'")
        if package in _CORE:
            text = f"{package} is not installed. The command needs it: "
            return EnvironmentFault(f"{text}pip install {_CORE[package]}")
    if isinstance(error, OSError) and error.errno in _TYPED:
        return ConfigError(f"{error.filename}: {error.strerror}. Give another place.")
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        text = f"{error.filename or 'a file'}: {error.strerror}. "
        return EnvironmentFault(f"{text}Make room or access there, or give another place.")
    return None


def _crash(error: Exception) -> int:
    if _debug():
        raise error
    trace = "".join(traceback.format_exception(error))
    again = "metasearch --debug " + " ".join(sys.argv[1:2]) + " ..."
    note(f"error: {type(error).__name__}: {error}")
    try:
        folder = (cache_folder() if is_address(home()) else home()) / ".crashes"
        make_private(folder)
        file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
        file.write_text(f"metasearch {__version__}\n{sys.argv}\n\n{trace}", encoding="utf-8")
        where = f"The traceback is in {short(file)}; {again} shows it at once."
    except OSError:
        where = f"{again} shows the traceback."
    note(f"This is a fault of metasearch. {where}")
    return 1


def _debug() -> bool:
    return os.environ.get("METASEARCH_DEBUG", "") not in {"", "0"}
