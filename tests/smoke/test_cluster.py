"""Ray's own cluster of processes, with GPUs that it only counts: on a disk, and in a bucket."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from metasearch import space
from metasearch.search.home import looked_at
from metasearch.search.ledger import open_run
from metasearch.search.ray_link import _told
from tests.search.driver import launch, lines, wait_until
from tests.small import blobs_file, trial
from tests.stores import BUCKET, reached, serving

pytestmark = [pytest.mark.slow, pytest.mark.ray]

STORE = 80 * 2**20


@contextlib.contextmanager
def cluster(caches: Path) -> Iterator[Any]:
    """A head without room and two machines with two GPUs and a cache each."""
    from ray.cluster_utils import Cluster

    with _told({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        made = Cluster(initialize_head=True, head_node_args=head)
        for i in range(2):
            own = {"METASEARCH_CACHE": str(caches / f"worker-{i}")}
            made.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE, env_vars=own)
        try:
            yield made
        finally:
            made.shutdown()


def metasearch(*words: object, **variables: str) -> str:
    """What a command prints that must not fail."""
    done = subprocess.run(
        [sys.executable, "-m", "metasearch", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def searched(runs: str, place: Path, address: str, *, then: Mapping[str, str]) -> float:
    """Search, go on for longer, export and draw; `then` is where that happens. Seconds."""
    tree = {"trial": trial(blobs_file(place / "blobs.npz")), "search": {"trials": 4}}
    (place / "tiny.yaml").write_text(space.dump(tree))
    on = ("--address", address)
    began = time.monotonic()
    metasearch("search", place / "tiny.yaml", "--out", runs, "--gpus-per-trial", 1, *on)
    metasearch("resume", f"{runs}/tiny", "--trials", 6, *on, **then)
    metasearch("export", f"{runs}/tiny", "-o", f"{runs}/best", **then)
    spent = time.monotonic() - began
    picture = place / "drawn.png"
    metasearch("generate", f"{runs}/best", "--support", f"{runs}/tiny/examples", "-o", picture)
    assert picture.stat().st_size > 0
    return spent


def test_a_search_runs_on_a_cluster_and_is_exported(tmp_path):
    with cluster(tmp_path) as made:
        spent = searched(str(tmp_path / "runs"), tmp_path, made.address, then={})
    run = open_run(tmp_path / "runs" / "tiny")
    assert run.count("complete") + run.count("pruned") == 6
    print(f"Cluster(), 2 machines, 4 fake GPUs: 6 trials and export in {spent:.0f} s")  # noqa: T201


def test_a_search_runs_on_a_cluster_whose_machines_share_a_bucket_alone(tmp_path, monkeypatch):
    runs = f"s3://{BUCKET}/runs"
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / "driver"))
    with serving() as store, reached(store, monkeypatch), cluster(tmp_path) as made:
        other = {"METASEARCH_CACHE": str(tmp_path / "other")}
        spent = searched(runs, tmp_path, made.address, then=other)
        shutil.rmtree(tmp_path / "driver")
        run = open_run(looked_at(f"{runs}/tiny"))
        assert run.count("complete") + run.count("pruned") == 6
        assert all(trial.ran_on() for trial in run.trials)
        kept = store.contents()
        assert not [key for key in kept if "/.ray/" in key]
        for name in ("tiny/report.html", "tiny/test_opened.json", "best/model.safetensors"):
            assert f"runs/{name}" in kept
        assert {f"runs/tiny/trials/{t.info.name}/config.yaml" for t in run.trials} <= {*kept}
    print(f"s3://, 2 machines, 4 fake GPUs: 6 trials and export in {spent:.0f} s")  # noqa: T201


def test_what_a_lost_machine_did_is_gone_on_with_from_the_bucket(tmp_path, monkeypatch):
    run, account = f"s3://{BUCKET}/runs/lost", tmp_path / "account"
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / "driver"))
    tree = {"account": str(account), "snapshots": True, "reports": 12, "pause": 0.5}
    with serving() as store, reached(store, monkeypatch), cluster(tmp_path) as made:
        how = {"backend": "ray", "address": made.address, "gpus_per_trial": 1.0, "retries": 9}
        process = launch(Path(run), tree, trials=4, **how)

        def told() -> dict[float, int]:
            return {x: k for x, what, k, _ in lines(account) if what != "began"}

        wait_until(lambda: sum(k >= 3 for k in told().values()) == 4, process, within_s=240)
        at = told()
        made.remove_node(made.list_all_nodes()[-1], allow_graceful=False)
        assert process.communicate(timeout=240) == ("trials", "")
        trials = open_run(looked_at(run)).trials
    assert [t.outcome.state for t in trials if t.outcome] == ["complete"] * 4
    again = {x: k for x, what, k, _ in lines(account) if what == "began" and k}
    assert 1 <= len(again) <= 2  # one that had ended is not begun again
    assert all(at[x] - k <= 1 for x, k in again.items()), (at, again)
