"""Machines of a cluster that die, and one that is taken away after a notice."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metasearch.rng import Stream
from metasearch.search.ledger import open_run
from metasearch.search.ray_link import _told
from tests.search.driver import launch, lines, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.ray]

REPORTS, TRIALS, SEED = 6, 32, 0
KILLS = int(os.environ.get("CHAOS_NODES", "30"))
OF_MACHINES = 3  # every third kill takes a whole machine
BACK_S = 30.0


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without room, and two machines with two GPUs each."""
    from ray.cluster_utils import Cluster

    with _told({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 * 2**20}
        made = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            _grow(made)
        yield made
        made.shutdown()


def _grow(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=80 * 2**20)


def _tree(account: Path, **more: Any) -> dict[str, Any]:
    return {"account": str(account), "snapshots": True, "reports": REPORTS, "pause": 0.4, **more}


def _whole(folder: Path, account: Path, kills: int) -> None:
    run = open_run(folder)
    assert run.state == "finished"
    assert Counter(t.outcome.state for t in run.trials if t.outcome) == {"complete": TRIALS}
    made = Counter((x, k) for x, what, k, _ in lines(account) if what != "began")
    repeated = sum(made.values()) - len(made)
    # A machine takes two trials with it, and each loses what it did since its last report.
    assert repeated <= 2 * kills, f"{repeated} reports made twice after {kills} kills"


def test_workers_and_machines_that_die_cost_a_report_each_and_no_trial(cluster, tmp_path):
    folder, account = tmp_path / "run", tmp_path / "account"
    how = {"trials": TRIALS, "backend": "ray", "address": cluster.address, "retries": 99,
           "gpus_per_trial": 1.0}  # fmt: skip
    process = launch(folder, _tree(account), **how)
    wait_until(lambda: len(lines(account)) > 4, process, within_s=240)
    draw, kills, slowest = Stream(SEED).at("nodes").numpy(), 0, 0.0
    while kills < KILLS and process.poll() is None:
        time.sleep(float(draw.uniform(0.3, 1.5)))
        before = len(lines(account))
        if kills % OF_MACHINES == OF_MACHINES - 1:
            node = cluster.list_all_nodes()[1 + int(draw.integers(2))]
            cluster.remove_node(node, allow_graceful=False)
            _grow(cluster)
        else:
            pids = {pid for *_, pid in lines(account)[-4:]}
            victim = sorted(pids)[int(draw.integers(len(pids)))]
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        kills += 1
        began = time.monotonic()
        wait_until(lambda seen=before: len(lines(account)) > seen or process.poll() is not None,
                   process, within_s=240)  # fmt: skip
        slowest = max(slowest, time.monotonic() - began)
    out, told = process.communicate(timeout=600)
    assert (out, process.returncode) == ("trials", 0), told
    _whole(folder, account, kills)
    print(f"{kills} kills of workers and machines: no trial lost, work again after {slowest:.1f} s")  # noqa: T201
    assert slowest < BACK_S


def test_a_machine_that_is_taken_away_after_a_notice_costs_no_retry(cluster, tmp_path):
    folder, account = tmp_path / "run", tmp_path / "account"
    how = {"trials": 4, "backend": "ray", "address": cluster.address, "retries": 0,
           "gpus_per_trial": 1.0}  # fmt: skip
    process = launch(folder, _tree(account, pause=1.0), **how)
    wait_until(lambda: len(lines(account)) > 6, process, within_s=240)
    node = cluster.list_all_nodes()[1]
    notice = [
        str(Path(sys.executable).parent / "ray"), "drain-node", "--address", cluster.address,
        "--node-id", node.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION",
        "--reason-message", "spot", "--deadline-remaining-seconds", "3",
    ]  # fmt: skip
    subprocess.run(notice, check=True, capture_output=True)
    time.sleep(3)
    cluster.remove_node(node, allow_graceful=False)
    out, told = process.communicate(timeout=300)
    assert (out, process.returncode) == ("trials", 0), told
    run = open_run(folder)
    assert Counter(t.outcome.state for t in run.trials if t.outcome) == {"complete": 4}
    began = Counter(x for x, what, *_ in lines(account) if what == "began")
    assert max(began.values()) == 2, "the trials that were there went on elsewhere"
