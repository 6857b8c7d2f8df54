"""The token of a cluster: a file of its own that nobody else can read.

Ray asks for a token where RAY_AUTH_MODE says so; who has it may run code as the user of the
cluster. So it stands on no command line, in no template, no log and no result.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from metasearch.errors import EnvironmentFault


def token_file() -> Path:
    """Where the token is: METASEARCH_TOKEN, or ``~/.metasearch/token``."""
    return Path(os.environ.get("METASEARCH_TOKEN") or Path.home() / ".metasearch" / "token")


def make_token() -> tuple[Path, bool]:
    """The file of the token, which is made if it is not there; and whether it was.

    Raises:
        EnvironmentFault: it is there, and others may read it.
    """
    file = token_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _see_that_it_is_private(file)
        return file, False
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32))
        stream.flush()
        os.fsync(stream.fileno())
    return file, True


def joining() -> dict[str, str]:
    """The variables with which a process joins a cluster that asks for the token.

    Empty where Ray's own variables say already how, or where there is no token.

    Raises:
        EnvironmentFault: others may read the token.
    """
    file = token_file()
    told = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ)
    if told or not file.is_file():
        return {}
    _see_that_it_is_private(file)
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}


def read_token() -> str:
    """The token that this user has, for a header; empty without one.

    Raises:
        EnvironmentFault: others may read it.
    """
    file = token_file()
    if not file.is_file():
        return ""
    _see_that_it_is_private(file)
    return file.read_text("ascii").strip()


def _see_that_it_is_private(file: Path) -> None:
    status = file.stat()
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise EnvironmentFault(
            f"{file}: others may read it (mode {stat.S_IMODE(status.st_mode):o}), and who has it "
            f"may run code on the cluster. Say: chmod 600 {file}, or better, remove it, make "
            "another with `metasearch cluster token`, and start the cluster again."
        )
    if not status.st_size:
        raise EnvironmentFault(f"{file}: empty. Remove it; `metasearch cluster token` makes one.")
