"""What the guides tell people to type is typed, page after page in one place: `make docs-test`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.house import ROOT

GUIDES = ROOT / "docs" / "guides"
TOLD = ("first-search", "read-a-report", "reproduce-a-trial")  # one goes on where another ends


def blocks(page: str, kind: str) -> list[str]:
    """The blocks of code of a guide."""
    text = (GUIDES / f"{page}.md").read_text("utf-8")
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def commands(page: str) -> list[str]:
    """The lines of a guide that call the program."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("metasearch ")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with images of one's own, and the program on the path."""
    place = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    for k in range(14):
        folder = place / "my-images" / f"class{k}"
        folder.mkdir(parents=True)
        base = rng.integers(0, 256, (14, 14))
        for i in range(12):
            noisy = np.clip(base + rng.integers(-20, 20, (14, 14)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{i}.png")
    program = place / "bin" / "metasearch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m metasearch "$@"\n')
    program.chmod(0o755)
    return place


def typed(desk: Path, line: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PATH": f"{desk / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "METASEARCH_HOME": "",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        line, shell=True, cwd=desk, env=env, capture_output=True, text=True, check=False
    )


def test_every_command_of_a_guide_is_a_verb():
    from metasearch.cli.app import build

    app = build()
    named = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    known = named | {group.name for group in app.registered_groups}
    for page in GUIDES.glob("*.md"):
        for line in commands(page.stem):
            assert line.split()[1] in known, f"{page.name}: {line}"


@pytest.mark.slow
def test_the_guides_can_be_followed(desk):
    for page in TOLD:
        assert commands(page)
        for line in commands(page):
            done = typed(desk, line)
            assert done.returncode == 0, f"{page}: {line}\n{done.stdout}{done.stderr}"
    for made in ("sheet.png", "leaves.yaml", "samples.png", "report.html", "leaves-best/README.md"):
        assert (desk / made).is_file()
    code = "\n".join(blocks("from-python", "python"))
    (desk / "notebook.py").write_text(code)
    done = typed(desk, f"{sys.executable} notebook.py")
    assert done.returncode == 0, done.stderr


def test_the_class_of_the_guide_to_plug_ins_registers_itself(desk):
    (code,) = blocks("plug-ins", "python")
    (desk / "my_module.py").write_text(code)
    done = typed(
        desk, f"METASEARCH_PLUGINS=my_module PYTHONPATH={ROOT}:. metasearch components mine"
    )
    assert done.returncode == 0, done.stderr
    assert "(from the module my_module)" in done.stdout
