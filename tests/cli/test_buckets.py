"""Every verb on a run in a bucket, typed as on a disk."""

from __future__ import annotations

import json

import pytest

import metasearch
from metasearch import space
from metasearch.cli.app import run
from tests.small import blobs_file, trial
from tests.stores import BUCKET, reached, serving

RUNS = f"s3://{BUCKET}/runs"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A machine with a search file and a home in a bucket."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("METASEARCH_HOME", RUNS)
    search = {"trials": 2, "backend": "local", "sampler": "random", "pruner": "none",
              "baselines": []}  # fmt: skip
    tree = {"search": search, "trial": trial(blobs_file(tmp_path / "blobs.npz"))}
    (tmp_path / "tiny.yaml").write_text(space.dump(tree))
    with serving() as store, reached(store, monkeypatch):
        yield store


def typed(capsys, *words):
    """What a command prints that must not fail."""
    code = run(words)
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


def test_verbs_take_the_address_of_a_run_or_its_name(here, tmp_path, monkeypatch, capsys):
    assert f"{RUNS}/tiny" in typed(capsys, "search", "tiny.yaml")
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / "there"))
    for words in (["list"], ["status", "tiny"], ["show", "tiny", "0"], ["best", "tiny"],
                  ["doctor", "tiny"], ["status", f"{RUNS}/tiny"]):  # fmt: skip
        assert typed(capsys, *words)
    assert "3 of 3 ended" in typed(capsys, "resume", "tiny", "--trials", "3")
    told = json.loads(typed(capsys, "export", "tiny", "--json"))
    assert {"runs/tiny/test_opened.json", "runs/tiny-best/model.safetensors"} <= {*here.contents()}
    again = f"{RUNS}/again"
    assert again in typed(
        capsys, "export", "tiny", "--trial", str(told["report"]["trial"]), "-o", again
    )
    assert run(["export", "tiny"]) == 2
    assert "tiny-best exists already" in capsys.readouterr().err
    typed(capsys, "generate", again, "--support", f"{RUNS}/tiny/examples", "-o", "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 0
    assert typed(capsys, "report", "tiny").strip() == f"{RUNS}/tiny/report.html"
    assert len(metasearch.open("tiny").trials) == 3
    assert not (tmp_path / "s3:").exists() and not (tmp_path / "runs").exists()


def test_a_run_that_no_bucket_holds_is_told_with_those_it_does(here, capsys):
    assert run(["status", "leaves"]) == 2
    assert f"there are no runs in {RUNS}" in capsys.readouterr().err


def test_a_bucket_that_fails_is_told_in_a_line_by_verbs_that_look(here, capsys):
    here.fault = lambda request: "500"
    assert run(["status", f"{RUNS}/tiny"]) == 4
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"error: {RUNS}/tiny") and len(said.splitlines()) == 1
