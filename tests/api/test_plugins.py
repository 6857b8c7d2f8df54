"""The example package: members from outside, by entry point, for five rooms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from metasearch.search.ledger import open_run
from tests.house import ROOT

EXAMPLE = ROOT / "examples" / "metasearch-rings"
PROJECT = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
MEMBERS = {
    (group.removeprefix("metasearch."), name)
    for group, points in PROJECT["entry-points"].items()
    for name in points
}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The package as pip would leave it: its modules, and what its metadata say."""
    place = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE / "metasearch_rings", place / "metasearch_rings")
    told = place / f"metasearch_rings-{PROJECT['version']}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"
    )
    lines = []
    for group, points in PROJECT["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (told / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return place


def called(place: Path, *words: object, site: Path | None = None, **variables: str):
    """The command line in a process of its own, with the package installed or without."""
    paths = [str(path) for path in (ROOT, site) if path]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "metasearch", *map(str, words)],
        cwd=place,
        env={**env, "METASEARCH_HOME": str(place / "runs"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_brings_a_member_for_each_of_five_rooms():
    assert {room for room, _ in MEMBERS} == {
        *("tasks", "models", "algorithms", "selectors", "scores"),
    }


def test_what_a_package_brings_is_listed_with_where_it_comes_from(site, tmp_path):
    told = json.loads(called(tmp_path, "components", "--json", site=site).stdout)
    for room, name in MEMBERS:
        assert told[room][name]["from"] == "metasearch-rings 0.1.0"
        assert told[room][name]["what"].endswith((".", "?"))
    assert told["models"]["vae"]["from"] == "metasearch"


def searched(site: Path, place: Path, *words: str) -> Path:
    """A run of the example's search."""
    done = called(place, "search", EXAMPLE / "rings.yaml", *words, site=site)
    assert done.returncode == 0, done.stderr
    return place / "runs" / "rings"


def test_a_search_of_nothing_but_guests_runs_and_its_bundle_says_what_it_needs(site, tmp_path):
    run = searched(site, tmp_path, "--trials", "2")
    manifest = json.loads((run / "manifest.json").read_text())
    assert set(manifest["plugins"]) == {f"{room}/{name}" for room, name in MEMBERS}
    assert called(tmp_path, "export", "rings", "-o", "b", site=site).returncode == 0
    told = json.loads((tmp_path / "b" / "provenance.json").read_text())
    assert told["plugins"] == manifest["plugins"]

    drawn = ("generate", "b", "--support", run / "examples", "-n", "4")
    assert called(tmp_path, *drawn, site=site).returncode == 0
    without = called(tmp_path, *drawn)
    assert without.returncode == 2
    assert without.stderr.count("\n") == 1
    assert "needs metasearch-rings 0.1.0 for" in without.stderr
    assert "models/repairer" in without.stderr

    looked = called(tmp_path, "best", "rings")  # a run is looked at without anybody's code
    assert looked.returncode == 0
    assert "repairer" in looked.stdout


@pytest.mark.ray
def test_workers_of_ray_know_the_guests(site, tmp_path):
    run = searched(site, tmp_path, "--trials", "2", "--backend", "ray", "--max-concurrent", "2")
    assert open_run(run).count("complete") == 2


def test_a_module_named_in_the_environment_registers_what_it_brings(tmp_path):
    (tmp_path / "my_rules.py").write_text(
        "from typing import Literal\n"
        "import metasearch\n"
        "from metasearch.selectors.random import Random\n\n"
        '@metasearch.register("selectors")\n'
        "@metasearch.component\n"
        "class Mine(Random):\n"
        '    """My own."""\n\n'
        '    name: Literal["mine"] = "mine"\n'
    )
    words = ("components", "mine", "--json")
    told = called(tmp_path, *words, site=tmp_path, METASEARCH_PLUGINS="my_rules")
    assert json.loads(told.stdout)["selectors"]["mine"]["from"] == "the module my_rules"
    gone = called(tmp_path, *words, METASEARCH_PLUGINS="my_ruels")
    assert gone.returncode == 4
    assert "METASEARCH_PLUGINS names 'my_ruels'" in gone.stderr


@pytest.mark.parametrize("file", sorted(EXAMPLE.rglob("*.py")), ids=lambda path: path.name)
def test_the_example_is_written_as_the_linter_wants_it(file):
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *words, str(file)], check=False)
        assert done.returncode == 0
