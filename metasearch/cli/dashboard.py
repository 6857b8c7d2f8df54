"""The verb `dashboard`: optuna-dashboard over a run. Loads no torch."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from metasearch.cli.output import note, result
from metasearch.cli.places import RunName, find_run
from metasearch.errors import EnvironmentFault

_LOOK_S = 2.0
_STARTS_S = 30.0


def dashboard(
    run: RunName,
    port: Annotated[int, typer.Option(help="Where to listen on this machine.")] = 8080,
) -> None:
    """Serve a run in optuna-dashboard on this machine: history, importance, each trial's picture.

    It shows a copy that follows the run; nothing done in it changes the run.

    Example: metasearch dashboard quickstart --port 8081
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise EnvironmentFault(
            "optuna-dashboard is not installed. Run: pip install 'metasearch[dashboard]'"
        )
    from metasearch.search.mirror import Mirror

    folder = find_run(run)
    if _answers(port):
        raise EnvironmentFault(f"port {port} is taken. Give another: --port {port + 1}")
    with tempfile.TemporaryDirectory(prefix="metasearch-") as place, contextlib.ExitStack() as end:
        mirror = Mirror(folder, Path(place) / "copy")
        server = _serve(mirror, port)
        end.callback(server.wait)
        end.callback(server.terminate)
        _await(server, port)
        result(f"http://127.0.0.1:{port}/dashboard/studies/0")
        note(f"from elsewhere: ssh -L {port}:localhost:{port} this-machine, then the same address")
        note("Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            while server.poll() is None:
                time.sleep(_LOOK_S)
                mirror.refresh()


def _serve(mirror: object, port: int) -> subprocess.Popen[bytes]:
    words = [str(mirror.journal), "--host", "127.0.0.1", "--port", str(port)]  # type: ignore[attr-defined]
    words += ["--artifact-dir", str(mirror.pictures)]  # type: ignore[attr-defined]
    code = "import sys; from optuna_dashboard._cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, who end it
    )


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _STARTS_S
    while not _answers(port):
        if server.poll() is not None or time.monotonic() > end:
            raise EnvironmentFault(
                f"optuna-dashboard does not start on port {port}. Give another --port, or see "
                "that it is as the extra `dashboard` wants it."
            )
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", port)) == 0
