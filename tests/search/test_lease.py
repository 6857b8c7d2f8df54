"""One writer per run folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from metasearch.errors import EnvironmentFault, RunError
from metasearch.search import lease as lease_module
from metasearch.search.lease import Lease, OnDisk, read_holder


def acquire(folder, **how):
    return Lease.acquire(OnDisk(folder), **how)


def hold(folder, **changes):
    """Write down that somebody else holds the lease."""
    data = dataclasses.asdict(read_holder(folder)) | changes
    (folder / "lease.json").write_text(json.dumps(data))


def test_a_live_holder_is_named_and_keeps_the_lease(tmp_path):
    acquire(tmp_path)
    holder = read_holder(tmp_path)
    assert holder.alive
    with pytest.raises(RunError, match=f"in use by process {holder.pid} on '{holder.host}'.*kill"):
        acquire(tmp_path)


def test_a_released_lease_is_free_and_numbers_only_grow(tmp_path):
    fences = []
    for _ in range(3):
        lease = acquire(tmp_path)
        fences.append(lease.fence)
        lease.release()
        assert not read_holder(tmp_path).alive
    assert fences == [1, 2, 3]


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path):
    code = (
        "import sys, os; from pathlib import Path; from metasearch.search.lease import *;"
        "Lease.acquire(OnDisk(Path(sys.argv[1]))); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert not read_holder(tmp_path).alive
    assert acquire(tmp_path).fence == 2


def test_a_killed_process_that_nobody_waited_for_is_dead(tmp_path):
    acquire(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # it has closed its output: from here on it only waits to be waited for
    while lease_module._birth(child.pid) != "gone":
        pass
    hold(tmp_path, pid=child.pid, born="1")
    assert not read_holder(tmp_path).alive
    child.wait()
    child.stdout.close()


def test_a_pid_that_was_given_to_another_process_is_not_the_holder(tmp_path):
    acquire(tmp_path)
    hold(tmp_path, born="1")
    assert not read_holder(tmp_path).alive


def test_a_holder_on_another_host_that_writes_keeps_the_lease(tmp_path):
    acquire(tmp_path).release()
    hold(tmp_path, host="elsewhere", pid=1)
    beat = threading.Timer(0.3, hold, [tmp_path], {"renewed": 5.0})
    beat.start()
    with pytest.raises(RunError, match=r"process 1 on 'elsewhere'.*ssh elsewhere kill 1"):
        acquire(tmp_path, stale_s=60.0)
    beat.join()


def test_a_holder_in_another_container_of_one_name_is_watched_like_another_host(tmp_path):
    acquire(tmp_path).release()
    gone = {"pid": 2**22 + 1, "born": "1"}  # a number that no process here can have
    hold(tmp_path, **gone, pids="another kernel's or container's")
    beat = threading.Timer(0.3, hold, [tmp_path], {"renewed": time.time()})
    beat.start()
    with pytest.raises(RunError, match=r"kill 4194305 \(in its container\)"):
        acquire(tmp_path, stale_s=60.0)
    beat.join()
    assert acquire(tmp_path, stale_s=0.3).fence == 2


def test_a_process_in_another_namespace_of_pids_is_not_taken_for_dead(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from metasearch.search.lease import *;"
        "Lease.acquire(OnDisk(Path(sys.argv[1]))); print('held', flush=True); time.sleep(60)"
    )
    apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("may not make a namespace of pids")
    holder = subprocess.Popen(
        [*apart, sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="in use by process"):
        acquire(tmp_path)
    holder.kill()
    holder.wait()
    holder.stdout.close()


def test_a_lease_that_does_not_say_whose_pids_it_means_is_of_this_host(tmp_path):
    acquire(tmp_path)
    data = dataclasses.asdict(read_holder(tmp_path))
    del data["pids"]
    (tmp_path / "lease.json").write_text(json.dumps(data))
    assert read_holder(tmp_path).here and read_holder(tmp_path).alive


def test_who_lets_go_while_it_is_watched_is_not_named_as_process_0(tmp_path):
    acquire(tmp_path).release()
    hold(tmp_path, host="elsewhere", pid=1)
    leaves = threading.Timer(0.3, hold, [tmp_path], {"pid": 0})
    leaves.start()
    with pytest.raises(RunError, match=r"let go just now\. Give the same command again"):
        acquire(tmp_path, stale_s=60.0)
    leaves.join()
    assert acquire(tmp_path).fence == 2


def test_a_holder_on_another_host_that_is_silent_loses_the_lease_whatever_its_clock(tmp_path):
    acquire(tmp_path).release()
    hold(tmp_path, host="elsewhere", pid=1, renewed=time.time() + 3600)
    assert read_holder(tmp_path).alive
    taken = acquire(tmp_path, stale_s=0.3)
    assert taken.fence == 2 and read_holder(tmp_path).host == socket.gethostname()


def test_a_holder_writes_while_it_lives_and_not_once_it_lost_the_lease(tmp_path, monkeypatch):
    monkeypatch.setattr(lease_module, "BEAT_S", 0.01)
    lease = acquire(tmp_path)
    first = read_holder(tmp_path)
    while read_holder(tmp_path) == first:
        time.sleep(0.01)
    later = read_holder(tmp_path)
    assert later.fence == first.fence and later.elapsed_s > first.elapsed_s
    hold(tmp_path, fence=2, pid=4, host="elsewhere")
    taken = read_holder(tmp_path)
    time.sleep(0.1)
    assert read_holder(tmp_path) == taken
    lease.release()
    assert read_holder(tmp_path) == taken


@pytest.mark.parametrize(
    "change", [{"mood": 1}, {"fence": "one"}, {"renewed": 10**400}, {"host": [1]}, {"pid": None}]
)
def test_a_damaged_lease_is_named(tmp_path, change):
    acquire(tmp_path).release()
    hold(tmp_path, **change)
    with pytest.raises(RunError, match=r"lease\.json: damaged .*delete the file"):
        read_holder(tmp_path)


def test_who_lost_the_lease_notices_and_gives_nothing_back(tmp_path):
    lease = acquire(tmp_path)
    lease.check()
    hold(tmp_path, fence=2, pid=4)
    with pytest.raises(RunError, match=r"taken over by process 4.*lease 2, ours was 1"):
        lease.check()
    lease.release()
    assert read_holder(tmp_path).pid == 4


def test_the_clock_goes_on_from_sitting_to_sitting(tmp_path):
    first = acquire(tmp_path)
    hold(tmp_path, elapsed_s=100.0)
    first._holder = read_holder(tmp_path)
    first.release()
    second = acquire(tmp_path)
    assert 100.0 <= second.elapsed_s < 160.0
    second._store(pid=second._holder.pid)
    assert read_holder(tmp_path).elapsed_s >= 100.0
    assert read_holder(tmp_path).clock_s >= read_holder(tmp_path).elapsed_s


def test_of_many_who_want_it_at_once_one_gets_it(tmp_path):
    got, refused = [], []

    def want():
        try:
            got.append(acquire(tmp_path))
        except RunError as fault:
            refused.append(fault)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(lease_module.fcntl, "flock", refuse)
    with pytest.raises(EnvironmentFault, match=r"cannot lock files.*--out"):
        acquire(tmp_path)
