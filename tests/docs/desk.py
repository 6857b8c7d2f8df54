"""A bare folder to type in: images of one's own, photographs, the program, nothing else."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

from tests.house import ROOT

SMALL = (
    "-s trial.budget.gradients=1500 -s trial.budget.reports=1 "
    "-s trial.judging.tasks=4 -s trial.judging.samples=8"
)
_STARTS_S = 120.0


def furnish(place: Path, each: int) -> Path:
    """Classes of noisy textures with so many images each, a class more, five photographs, and the
    program on a path.
    """
    rng = np.random.default_rng(0)
    for k in range(14):
        _textures(place / "my-images" / f"class{k}", each, rng)
    _textures(place / "my-new-class", 5, rng)
    (place / "photos").mkdir()
    for k in range(5):
        paper = rng.integers(225, 245, (300, 400, 3)).astype(np.uint8)
        paper[80 + 5 * k : 180, 120:260] = rng.integers(20, 90, (1, 1, 3))
        Image.fromarray(paper).save(place / "photos" / f"{k}.jpg")
    (place / "search_spaces").symlink_to(ROOT / "search_spaces")
    program = place / ".venv" / "bin" / "metasearch"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m metasearch "$@"\n')
    program.chmod(0o755)
    return place


def _textures(folder: Path, count: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    base = rng.integers(0, 256, (14, 14))
    for i in range(count):
        noisy = np.clip(base + rng.integers(-20, 20, (14, 14)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i}.png")


def surroundings(place: Path) -> dict[str, str]:
    """The environment of somebody who went into the folder and activated its `.venv`."""
    return {
        **os.environ,
        "PATH": f"{place / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "METASEARCH_HOME": "",
        "OMP_NUM_THREADS": "1",
    }


def typed(place: Path, line: str) -> str:
    """Type a line in the folder; what it said.

    Raises:
        AssertionError: it did not end well.
    """
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=place,
        env=surroundings(place),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def visited(place: Path, line: str) -> None:
    """Type a line that serves a page, open the page, and press Ctrl-C.

    Raises:
        AssertionError: no page came, or it did not end well.
    """
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {line}"],
        cwd=place,
        env={**surroundings(place), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        end = time.monotonic() + _STARTS_S
        try:
            assert address.startswith("http://127.0.0.1:"), f"{line}: {address}"
            while True:
                try:
                    with urllib.request.urlopen(address, timeout=10) as page:
                        assert page.status == 200
                    break
                except OSError:
                    assert time.monotonic() < end, f"{line}: {address} does not answer"
                    time.sleep(0.2)
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
