"""`ray up` over a real ssh to three machines, by the very lines that `cluster render ssh` prints."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metasearch import space
from metasearch.search.ledger import open_run
from tests.house import ROOT
from tests.small import blobs_file, trial
from tests.smoke.lab import Host, hosts, missing, until
from tests.smoke.stranger import RAYS, joins, places_of, sees_nothing

LACKING = missing("sshd", "ssh", "rsync", "tmux")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(LACKING), reason=LACKING)]

SSH_PORT = 22
SSHD = """HostKey {key}
AuthorizedKeysFile {key}.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile /run/sshd.pid
"""
PROFILE = """export PATH={bin}:$PATH PYTHONPATH={root} OMP_NUM_THREADS=1 RAY_USAGE_STATS_ENABLED=0
"""


@pytest.fixture
def machines(tmp_path) -> Iterator[list[Host]]:
    """Three machines with sshd, each with a home of its own that one key opens; and a stranger."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "sshd_config").write_text(SSHD.format(key=key))
    with hosts(tmp_path / "hosts", ("h1", "h2", "h3", "stranger")) as found:
        for host in found[:3]:
            home = host.folder / "root"
            home.mkdir()
            text = PROFILE.format(bin=Path(sys.executable).parent, root=ROOT)
            for name in (".bashrc", ".bash_profile"):
                (home / name).write_text(text)
            host.run("bash", "-c", _HOME, "_", str(home))
            host.variables["HOME"] = "/root"
            host.run("mkdir", "-p", "/run/sshd")
            host.run("/usr/sbin/sshd", "-f", str(tmp_path / "sshd_config"))
        yield found


# A home of its own; an interpreter that lives below the real one stays in reach.
_HOME = """set -e
if [ -d /root/.pyenv ]; then mkdir -p "$1/.pyenv"; mount --bind /root/.pyenv "$1/.pyenv"; fi
mount --rbind "$1" /root
"""


def test_a_search_runs_on_machines_over_ssh(machines, tmp_path):
    head, *workers, stranger = machines
    runs = tmp_path / "runs"
    runs.mkdir()
    tree = {"trial": trial(blobs_file(tmp_path / "blobs.npz")), "search": {"trials": 4}}
    (tmp_path / "tiny.yaml").write_text(space.dump(tree))
    told = head.run(
        "metasearch", "cluster", "render", "ssh", "--search", str(tmp_path / "tiny.yaml"), "--runs",
        str(runs), "--nodes", "2", "--gpus", "2", "-s", f"head={head.ip}", "-s",
        f"workers=[{', '.join(w.ip for w in workers)}]", "-s", "ssh_user=root", "-s",
        f"ssh_key={tmp_path / 'key'}", "-s", f"bin={Path(sys.executable).parent}", "-s", "name=tiny",
        "-o", str(tmp_path / "cluster"), "--json",
    )  # fmt: skip
    guide = json.loads(told[told.index("{") :])
    began = time.monotonic()
    for line in guide["start"]:
        head.run("bash", "-lc", line, within_s=400)
    until((runs / "tiny" / "manifest.json").exists, 200, "the search begins")
    until(lambda: open_run(runs / "tiny").state == "finished", 300, "the search ends")
    spent = time.monotonic() - began
    run = open_run(runs / "tiny")
    assert run.count("complete") == 4
    where = {host for t in run.trials for host in t.ran_on()}
    head.run("metasearch", "export", str(run.folder), "-o", str(tmp_path / "best"), within_s=200)
    token = (head.folder / "root" / ".metasearch" / "token").read_text()
    stated = {SSH_PORT, *RAYS}
    assert 6380 in sees_nothing(stranger, (head, *workers), stated), "Ray is up on all"
    assert not joins(stranger, f"{head.ip}:6379")
    assert places_of(token, (head, *workers), tmp_path) == []
    for line in guide["stop"]:
        head.run("bash", "-lc", line, within_s=200, code=None)
    print(f"ssh: 4 trials on {sorted(where)}, {spent:.0f} s from `ray up` to the end")  # noqa: T201
