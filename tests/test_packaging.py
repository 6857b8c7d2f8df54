"""What gets installed: nothing unwanted, everything pinned, on the Pythons we say."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import metasearch

ROOT = Path(metasearch.__file__).parents[1]
OURS = "metasearch"
# A build of torch brings the libraries of its accelerator, and pins them itself.
OF_AN_ACCELERATOR = re.compile(r"(nvidia|cuda|intel|triton|pytorch-triton)\b.*")


@cache
def tree() -> dict[str, list[Requirement]]:
    """Distribution -> what asks for it, over all that ``metasearch[search,test]`` installs."""
    waiting = [Requirement(f"{OURS}[search,test]")]
    found: dict[str, list[Requirement]] = {OURS: []}
    seen = set()
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        found.setdefault(name, []).append(asked)
        for extra in ("", *asked.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in importlib.metadata.requires(name) or ():
                below = Requirement(line)
                if below.marker is None or below.marker.evaluate({"extra": extra}):
                    waiting.append(below)
    return found


@cache
def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in found}


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


def test_the_tree_is_walked_down_to_its_leaves():
    assert {"torch", "ray", "optuna", "pytest", "markupsafe", "tensorboardx"} <= set(tree())


def test_neither_torchvision_nor_torchaudio_is_in_the_dependency_tree():
    """They would bring another build of torch along."""
    assert {"torchvision", "torchaudio", "pytorch-lightning"} & set(tree()) == set()


def test_constraints_pin_every_distribution_of_the_tree():
    loose = {name for name in tree() if name not in pins() and name != OURS}
    assert {name for name in loose if not OF_AN_ACCELERATOR.fullmatch(name)} == set()


def test_constraints_agree_with_what_is_asked_for():
    clashes = [
        f"{asked} by constraints.txt at {pins()[name]}"
        for name, asking in tree().items()
        for asked in asking
        if name in pins() and not asked.specifier.contains(pins()[name], prereleases=True)
    ]
    assert clashes == []


def test_constraints_leave_the_build_of_torch_open():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert "torch==2.13.0" in lines
    assert pins()["torch"].local is None


def test_constraints_name_nothing_twice_and_not_this_package():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert len(pins()) == sum("==" in line and not line.startswith("#") for line in lines)
    assert OURS not in pins()


def test_loading_a_bundle_needs_none_of_what_searching_needs():
    stated = project()
    core = {canonicalize_name(Requirement(line).name) for line in stated["dependencies"]}
    extra = stated["optional-dependencies"]["search"]
    assert core & {canonicalize_name(Requirement(line).name) for line in extra} == set()
    assert core >= {"torch", "numpy", "pillow", "safetensors"}


def test_the_installed_package_is_this_one():
    """Otherwise the tests above walk the tree of an old version: install again."""
    stated = project()
    lines = list(stated["dependencies"])
    for extra, more in stated["optional-dependencies"].items():
        lines += [f'{line}; extra == "{extra}"' for line in more]
    installed = importlib.metadata.requires(OURS) or []
    assert {normal(line) for line in lines} == {normal(line) for line in installed}


def normal(line: str) -> str:
    """A requirement in one spelling, whichever the build backend chose."""
    asked = Requirement(line)
    asked.name = canonicalize_name(asked.name)
    return str(asked)


def test_python_3_11_to_3_13_are_allowed_and_no_other():
    allowed = SpecifierSet(importlib.metadata.metadata(OURS)["Requires-Python"])
    minors = [minor for minor in range(8, 17) if allowed.contains(f"3.{minor}.1")]
    assert minors == [11, 12, 13]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("[ $1 = --version ] && echo Python 3.9.2 || exit 1", "is Python 3.9.2; metasearch needs"),
        ("case $2 in *ensurepip*) exit 1;; esac", "cannot make virtual environments"),
        (None, "metasearch needs Python 3.11, 3.12 or 3.13"),
    ],
    ids=["too old", "without venv", "missing"],
)
def test_make_says_what_is_wrong_with_a_python(tmp_path, script, says):
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    done = subprocess.run(
        ["make", "test", f"PYTHON={python}", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "venv").exists()
