"""`submit` against Ray's own job server: with a token, from a folder with the search and its data."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metasearch import space
from metasearch.search.ledger import open_run
from tests.small import blobs_file, trial
from tests.smoke.lab import Host, hosts, missing, until

_LACKS = [p for p in ("aiohttp", "aiohttp_cors", "opencensus") if not importlib.util.find_spec(p)]
_WHY = f"NOT RUN: ray[default] is not installed: {', '.join(_LACKS)}" if _LACKS else missing()

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(_WHY), reason=_WHY)]


@pytest.fixture
def head(tmp_path) -> Iterator[Host]:
    """A machine with a Ray that takes jobs from those who have its token."""
    with hosts(tmp_path / "hosts", ["h1"]) as (host,):
        token = Path(host.folder, "home", ".metasearch", "token")
        host.variables |= {
            "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token),
            "METASEARCH_TOKEN": str(token),
        }  # fmt: skip
        host.run("metasearch", "cluster", "token")
        bin = Path(sys.executable).parent
        host.run(str(bin / "ray"), "start", "--head", "--port=6379", "--num-cpus=2", "--num-gpus=2",
                 "--include-dashboard=true", "--dashboard-host=127.0.0.1",
                 "--object-store-memory=100000000")  # fmt: skip
        yield host


def test_a_submitted_search_runs_with_its_folder_and_goes_on_when_submitted_again(head, tmp_path):
    desk, runs = tmp_path / "desk", tmp_path / "runs"
    desk.mkdir()
    tree = {"trial": trial(blobs_file(desk / "blobs.npz")), "search": {"trials": 2}}
    tree["trial"]["tasks"]["path"] = "blobs.npz"  # as the job sees it
    (desk / "tiny.yaml").write_text(space.dump(tree))
    (desk / ".secret").write_text("stays here")
    words = ["metasearch", "submit", "tiny.yaml", "--working-dir", ".", "--out", str(runs),
             "--max-concurrent", "2", "--gpus-per-trial", "0.5", "--json"]  # fmt: skip
    began = time.monotonic()
    for trials in (2, 4):
        (desk / "tiny.yaml").write_text(
            space.dump({**tree, "search": {"trials": trials}}), encoding="utf-8"
        )
        told = head.run("bash", "-c", f'cd {desk} && exec "$@"', "_", *words, within_s=60)
        job = json.loads(told[told.index("{") :])["job"]
        until(lambda job=job: _state(head, job) not in {"PENDING", "RUNNING"}, 240, "the job ends")
        log = head.run("ray", "job", "logs", job, within_s=60)
        assert _state(head, job) == "SUCCEEDED", log
        run = open_run(runs / "tiny")
        assert run.count("complete") + run.count("pruned") == trials, log
    export = ["metasearch", "export", str(run.folder), "-o", str(tmp_path / "best")]
    head.run(
        "bash", "-c", f'cd {desk} && exec "$@"', "_", *export, within_s=200
    )  # its data are here
    spent = time.monotonic() - began
    token = Path(head.variables["METASEARCH_TOKEN"]).read_text().strip()
    assert token not in log and token not in head.run("ps", "auxeww").replace("_PATH", "")
    strange = tmp_path / "strange"
    strange.write_text("f" * 64)
    strange.chmod(0o600)
    head.variables["METASEARCH_TOKEN"] = str(strange)
    said = head.run("bash", "-c", f'cd {desk} && exec "$@"', "_", *words, code=4, within_s=60)
    assert "refuses the token" in said and len(said.splitlines()) == 1
    print(f"submit: 2 trials, 2 more by the same command, and export in {spent:.0f} s")  # noqa: T201


def _state(head: Host, job: str) -> str:
    told = head.run(
        sys.executable, "-c",
        "import sys, json; from metasearch.cluster.jobs import JobServer;"
        "from metasearch.cluster.token import read_token;"
        "s = JobServer('http://127.0.0.1:8265', read_token());"
        f"print(s._ask('GET', '/api/jobs/{job}')['status'])",
    )  # fmt: skip
    return told.strip().splitlines()[-1]
