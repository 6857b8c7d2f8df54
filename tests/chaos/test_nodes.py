"""Machines of a cluster that die, and machines that are taken away after a notice."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metasearch.rng import Stream
from metasearch.search.ledger import open_run
from metasearch.search.ray_link import _told
from metasearch.search.worker import whole_checkpoints
from tests.chaos.history import NO_REPORT
from tests.search.driver import launch, lines, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.ray]

REPORTS, SEED = 6, 0
ENDLESS = 10_000  # trials, while machines die
KILLS = 30
OF_MACHINES = 3  # every third kill takes a whole machine
BACK_S, KEPT_S = 30.0, 5.0
GRACE_S = 6  # from a notice to the end of a machine
STORE = 80 * 2**20
RAY = str(Path(sys.executable).parent / "ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room; its tests give it machines with two GPUs each."""
    from ray.cluster_utils import Cluster

    with _told({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        made = Cluster(initialize_head=True, head_node_args=head)
        yield made
        made.shutdown()


def _grow(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE)


def _drop(cluster: Any, node: Any) -> None:
    cluster.remove_node(node, allow_graceful=False)


def _tree(account: Path, **more: Any) -> dict[str, Any]:
    return {"account": str(account), "snapshots": True, "reports": REPORTS, "pause": 0.4, **more}


def _whole(folder: Path, account: Path, trials: int) -> None:
    run = open_run(folder)
    assert run.state == "finished"
    assert Counter(t.outcome.state for t in run.trials if t.outcome) == {"complete": trials}
    made = Counter((x, k) for x, what, k, _ in lines(account) if what not in NO_REPORT)
    repeated = sum(made.values()) - len(made)
    # Each loses what it did since its last report; a machine takes two trials with it.
    machines = KILLS // OF_MACHINES
    assert repeated <= KILLS + machines, f"{repeated} reports made twice: {KILLS} kills, {machines} of machines"  # fmt: skip
    print(f"{repeated} reports made twice, of {KILLS + machines} trials killed at most")  # noqa: T201


class Victims:
    """Trials whose worker was killed, and how long each took to work again."""

    def __init__(self, account: Path) -> None:
        self._account = account
        self._away: dict[float, tuple[int, float]] = {}  # trial -> lines then, time then
        self.slowest_s = 0.0

    def working(self) -> dict[int, float]:
        """The trial of each process that still runs."""
        last = {pid: (x, k) for x, _, k, pid in lines(self._account)}
        return {p: x for p, (x, k) in last.items() if k < REPORTS and Path(f"/proc/{p}").exists()}

    def add(self, trials: list[float]) -> None:
        """These were killed just now."""
        self._away |= dict.fromkeys(trials, (len(lines(self._account)), time.monotonic()))

    def look(self) -> bool:
        """Note who is back; whether all are."""
        noted = lines(self._account)
        for x, (seen, since) in list(self._away.items()):
            if any(trial == x for trial, *_ in noted[seen:]):
                self.slowest_s = max(self.slowest_s, time.monotonic() - since)
                del self._away[x]
        return not self._away


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def test_workers_and_machines_that_die_cost_a_report_each_and_no_trial(cluster, tmp_path):
    nodes = [_grow(cluster), _grow(cluster)]
    folder, account = tmp_path / "run", tmp_path / "account"
    how = {"backend": "ray", "address": cluster.address, "retries": 99, "gpus_per_trial": 1.0}
    process = launch(folder, _tree(account), **how, trials=ENDLESS)
    wait_until(lambda: len(lines(account)) > 4, process, within_s=240)
    draw, victims = Stream(SEED).at("nodes").numpy(), Victims(account)
    for kill in range(KILLS):
        time.sleep(float(draw.uniform(0.3, 1.5)))
        wait_until(lambda: victims.look() and bool(victims.working()), process, 240)
        working = victims.working()
        if kill % OF_MACHINES == OF_MACHINES - 1:
            node = nodes.pop(int(draw.integers(2)))
            raylet = node.all_processes["raylet"][0].process.pid
            victims.add([x for pid, x in working.items() if _parent(pid) == raylet])
            _drop(cluster, node)
            nodes.append(_grow(cluster))
        else:
            pid = sorted(working)[int(draw.integers(len(working)))]
            victims.add([working[pid]])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    wait_until(victims.look, process, within_s=240)
    process.terminate()
    assert process.communicate(timeout=120) == ("interrupted", "")
    asked = len(open_run(folder).trials)
    process = launch(folder, _tree(account), **how, trials=asked)
    assert process.communicate(timeout=300) == ("trials", "")
    _whole(folder, account, asked)
    print(f"{KILLS} kills of workers and machines: no trial lost, all back in {victims.slowest_s:.1f} s")  # noqa: T201 # fmt: skip
    assert victims.slowest_s < BACK_S
    for node in nodes:
        _drop(cluster, node)


def drained(cluster: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """A machine that somebody gives notice of, as a cloud or a batch system does; and its end."""
    node = _grow(cluster)
    words = [
        RAY, "drain-node", "--address", cluster.address, "--node-id", node.node_id,
        "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
        "--deadline-remaining-seconds", str(GRACE_S),
    ]  # fmt: skip
    return (
        lambda: subprocess.run(words, check=True, capture_output=True),
        lambda: _drop(cluster, node),
    )


def terminated(cluster: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """A machine that hears SIGTERM, as a pod does; `ray start --block` makes a notice of it."""
    words = [RAY, "start", "--block", "--address", cluster.address, "--num-cpus", "2",
             "--num-gpus", "2", "--object-store-memory", str(STORE)]  # fmt: skip
    patience = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(GRACE_S)}
    process = subprocess.Popen(
        words, env={**os.environ, **patience}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return process.terminate, lambda: process.wait(120)


@pytest.mark.parametrize("machine", [drained, terminated])
def test_trials_of_a_machine_that_is_taken_away_keep_what_they_did_and_no_retry_is_spent(
    cluster, tmp_path, machine
):
    folder, account = tmp_path / "run", tmp_path / "account"
    give_notice, end = machine(cluster)
    how = {"trials": 2, "backend": "ray", "address": cluster.address, "retries": 0,
           "gpus_per_trial": 1.0}  # fmt: skip
    process = launch(folder, _tree(account, pause=25.0, reports=1), **how)
    wait_until(lambda: len(lines(account)) == 2, process, within_s=240)
    time.sleep(2.0)
    other = _grow(cluster)
    places = list((folder / "trials").iterdir())
    assert len(places) == 2 and not any(map(whole_checkpoints, places))
    began = time.monotonic()
    give_notice()  # takes a second or two, within which there may be a checkpoint
    wait_until(lambda: all(map(whole_checkpoints, places)), process, within_s=60)
    kept_s = time.monotonic() - began
    end()
    out, told = process.communicate(timeout=300)
    assert (out, process.returncode) == ("trials", 0), told
    run = open_run(folder)
    assert Counter(t.outcome.state for t in run.trials if t.outcome) == {"complete": 2}
    began_times = Counter(x for x, what, *_ in lines(account) if what == "began")
    assert set(began_times.values()) == {2}, "both went on elsewhere"
    print(f"{machine.__name__}: checkpoint {kept_s:.1f} s after the notice, no retry spent")  # noqa: T201
    assert kept_s < KEPT_S
    _drop(cluster, other)
