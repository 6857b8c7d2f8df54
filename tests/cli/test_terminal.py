"""What a terminal shows: within its width, and without colour where none is wanted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from metasearch.cli.app import VERBS, flowing
from tests.house import ROOT

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38;)[0-9;]*m")


def on_a_terminal(*words: str, columns: int, cwd: str, **env: str) -> str:
    """All that the program writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
    running = subprocess.Popen(
        [sys.executable, "-m", "metasearch", *words],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    told = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side was closed
            break
        if not more:
            break
        told += more
    os.close(ours)
    assert running.wait() == 0
    return told.decode()


@pytest.mark.parametrize("columns", [40, 72])
def test_help_keeps_within_a_narrow_terminal_and_its_colours_can_be_turned_off(columns, tmp_path):
    coloured = on_a_terminal("search", "--help", columns=columns, cwd=tmp_path)
    plain = on_a_terminal("search", "--help", columns=columns, cwd=tmp_path, NO_COLOR="1")
    assert COLOUR.search(coloured)
    assert not COLOUR.search(plain)
    assert ESCAPE.sub("", coloured) == ESCAPE.sub("", plain)
    assert max(len(line.rstrip("\r")) for line in ESCAPE.sub("", plain).split("\n")) <= columns


def test_results_are_plain_text_on_any_terminal(planted, place):
    told = on_a_terminal("best", "planted", columns=40, cwd=place)
    assert "\x1b" not in told
    piped = subprocess.run(
        [sys.executable, "-m", "metasearch", "best", "planted"],
        cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert told.replace("\r\n", "\n") == piped.stdout + piped.stderr  # a line is never cut


def test_paragraphs_of_help_flow():
    assert flowing("One\n    two.\n\n    Three\n    four.\n") == "One two.\n\nThree four."
    told = [flowing(verb.__doc__) for verbs in VERBS.values() for verb in verbs]
    assert all("  " not in text and "Example: metasearch " in text for text in told)
