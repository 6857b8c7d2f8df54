"""What stays light: looking must not wait for torch, nor loading a bundle need Ray."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "ray", "optuna", "tensorboard", "matplotlib", "scipy", "pandas", "pyarrow"}
OF_SEARCHING = HEAVY - {"torch"}
OF_THE_COMMAND = {"pydantic", "pydantic_core", "rich", "typer", "yaml"}


def loaded_by(code: str, *, folder: str = ".") -> set[str]:
    """The top-level modules that a fresh Python has loaded after `code`."""
    told = "import sys; print('\\nloaded:', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{code}\n{told}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "METASEARCH_HOME": folder},
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def running(*arguments: str) -> str:
    """Code that runs ``python -m metasearch`` with these arguments."""
    return (
        "import runpy, sys\n"
        f"sys.argv = {['metasearch', *arguments]!r}\n"
        "try:\n    runpy.run_module('metasearch', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code"
    )


def test_a_module_that_is_loaded_is_seen():
    assert "scipy" in loaded_by("import scipy.stats")


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import metasearch") & (HEAVY | OF_THE_COMMAND) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"], ["search", "--help"]])
def test_a_verb_that_looks_loads_nothing_heavy(arguments, tmp_path):
    assert loaded_by(running(*arguments), folder=str(tmp_path)) & HEAVY == set()


def test_loading_a_bundle_needs_neither_what_searches_nor_what_prints():
    found = loaded_by("import metasearch.bundle.load")
    assert found & (OF_SEARCHING | OF_THE_COMMAND) == set()
    assert "torch" in found
