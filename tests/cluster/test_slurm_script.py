"""The job script for Slurm, run with stand-ins for Slurm, Ray and the search: signals, addresses."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import filled

JOB = 4321
FIRST = 20000 + JOB % 1200 * 10
STANDINS = {
    "scontrol": 'if [ "$1" = show ]; then echo h1; else echo "$@" >>"$CALLS"; fi',
    "getent": 'echo "$HEAD_IP STREAM h1"',
    "hostname": "echo 127.0.0.1",
    "srun": 'echo srun "$@" >>"$CALLS"; case "$*" in *"ray start"*) exec sleep 60;; esac',
    "metasearch": """echo metasearch "$@" >>"$CALLS"
        case "$*" in *up-check*) exec sleep "$WAIT_S";; esac
        trap "exit 143" TERM; for _ in $(seq 600); do sleep 0.1; done""",
}


class Job:
    """The script as a batch system starts it."""

    def __init__(self, folder: Path, *, head_ip: str = "127.0.0.1", wait_s: float = 0) -> None:
        bin = folder / "bin"
        bin.mkdir()
        for name, text in STANDINS.items():
            (bin / name).write_text(f"#!/bin/bash\n{text}\n")
            (bin / name).chmod(0o755)
        (folder / ".metasearch").mkdir()
        (folder / ".metasearch" / "token").write_text("t")
        self._calls = folder / "calls"
        self._calls.touch()
        script = filled("slurm", folder / "job", bin=str(bin), nodes="2") / "search.sbatch"
        known = {"HOME": str(folder), "CALLS": str(self._calls), "HEAD_IP": head_ip,
                 "WAIT_S": str(wait_s), "SLURM_JOB_ID": str(JOB), "SLURM_NNODES": "2",
                 "SLURM_CPUS_PER_TASK": "1", "SLURM_JOB_NODELIST": "h[1-2]"}  # fmt: skip
        self._said = folder / "said"
        with self._said.open("w") as out:  # no pipe, which what it starts would hold open
            self.process = subprocess.Popen(
                ["bash", str(script)], env={**os.environ, **known}, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()

    def until(self, word: str) -> None:
        end = time.monotonic() + 60
        while not any(word in call for call in self.calls):
            assert self.process.poll() is None and time.monotonic() < end, self.calls
            time.sleep(0.05)
        time.sleep(0.3)  # for the trap or the wait that comes next

    def end(self) -> tuple[int, str]:
        try:
            code = self.process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):  # all have ended
                os.killpg(self.process.pid, signal.SIGKILL)
        return code, self._said.read_text()


@pytest.fixture
def ray_later():
    """The head's Ray, which comes up after the script found its port free."""
    stop = threading.Event()

    def listen() -> None:
        time.sleep(1.5)
        with socket.create_server(("127.0.0.1", FIRST)):
            stop.wait(60)

    thread = threading.Thread(target=listen)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def job(tmp_path):
    """Started by a test; the fallback of an address is loopback here, which is enough to listen at."""
    return lambda **how: Job(tmp_path, **how)


@pytest.mark.usefixtures("ray_later")
@pytest.mark.parametrize(
    ("sent", "requeued"), [(signal.SIGTERM, False), (signal.SIGUSR1, True)], ids=["TERM", "USR1"]
)
def test_a_search_that_is_ended_stays_ended_and_one_whose_time_is_up_goes_on(job, sent, requeued):
    started = job()
    started.until("metasearch search")
    started.process.send_signal(sent)
    code, said = started.end()
    assert code == 143, said
    assert (f"requeue {JOB}" in started.calls) == requeued
    assert any(f"rm -rf /tmp/metasearch-{JOB}-0" in call for call in started.calls)


@pytest.mark.usefixtures("ray_later")
def test_a_job_whose_time_is_up_before_its_search_begins_is_queued_again(job):
    started = job(wait_s=100)  # longer than `end` waits
    started.until("up-check")
    started.process.send_signal(signal.SIGUSR1)
    code, _ = started.end()
    assert code == 143 and f"requeue {JOB}" in started.calls
    assert not any("metasearch search" in call for call in started.calls)


@pytest.mark.usefixtures("ray_later")
def test_a_head_that_knows_itself_by_loopback_alone_is_reached_by_another_address(job):
    started = job(head_ip="127.0.1.1")  # as Debian writes it into /etc/hosts
    started.until("metasearch search")
    started.process.terminate()
    started.end()
    (head,) = [call for call in started.calls if "ray start --head" in call]
    assert "--node-ip-address=127.0.0.1 " in head, "what `hostname -I` says here"


def test_a_ray_that_does_not_start_ends_the_job(job, monkeypatch):
    monkeypatch.setitem(STANDINS, "srun", 'case "$*" in *"ray start"*) exit 1;; esac')
    code, said = job().end()
    assert code == 4 and "Ray did not start on h1" in said
