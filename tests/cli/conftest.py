"""The command line, called in this process; and a run to look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metasearch.cli.app import run
from metasearch.search.run import run_search
from tests.search.plans import plan
from tests.search.planted import TRIAL

ENDS = {"choice": [{"name": "well"}, {"name": "raise"}, {"name": "nan"}]}


@dataclass(frozen=True)
class Called:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("METASEARCH_HOME", raising=False)
    monkeypatch.delenv("METASEARCH_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def cli(place, capsys) -> Callable[..., Called]:
    def call(*words: object) -> Called:
        capsys.readouterr()
        code = run([str(word) for word in words])
        told = capsys.readouterr()
        return Called(code, told.out, told.err)

    return call


@pytest.fixture
def planted(place) -> Path:
    """A run of planted trials: some finish, some raise, some diverge."""
    folder = place / "runs" / "planted"
    run_search(plan({"end": ENDS}, trials=12, seed=3), folder, trial=TRIAL)
    return folder
