"""A real Slurm of three machines runs a real search by the template, and the winner is exported."""

from __future__ import annotations

import re
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metasearch import space
from metasearch.cluster.token import make_token
from metasearch.search.ledger import open_run
from tests.small import blobs_file, trial
from tests.smoke.lab import Host, hosts, missing, until
from tests.smoke.stranger import places_of, sees_nothing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing("slurmd", "slurmctld", "munged")), reason=missing("slurmd", "munged")
    ),
]

NAMES = ("h1", "h2", "h3")
CONF = """ClusterName=lab
SlurmctldHost=h1(10.77.0.1)
AuthType=auth/munge
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation=/run/slurm-state
SlurmdSpoolDir=/run/slurmd-spool
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/run/slurmctld.log
SlurmdLogFile=/run/slurmd.log
GresTypes=gpu
SlurmdParameters=config_overrides
PlugStackConfig=/dev/null
SrunPortRange=60001-61000
PartitionName=gpu Nodes=h[1-3] Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={} NodeAddr={} CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN\n"
SLURMS = {6817, 6818, *range(60001, 61001)}  # its daemons, and `srun` as configured above
WORKERS = range(10002, 20000)
LONG = {"gradients": 20_000, "reports": 2, "tasks_per_step": 4}  # so that there is time to look
CGROUP = """CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainCores=no
ConstrainRAMSpace=no
ConstrainDevices=no
"""


@pytest.fixture
def slurm(tmp_path) -> Iterator[list[Host]]:
    """Three machines with Slurm up."""
    conf = tmp_path / "etc"
    (conf / "dev").mkdir(parents=True)
    (conf / "munge.key").write_bytes(secrets.token_bytes(1024))
    (conf / "munge.key").chmod(0o400)
    (conf / "cgroup.conf").write_text(CGROUP)
    for i in range(2):
        (conf / "dev" / f"gpu{i}").touch()
    (conf / "gres.conf").write_text(f"NodeName=h[1-3] Name=gpu File={conf}/dev/gpu[0-1]\n")
    with hosts(tmp_path / "hosts", (*NAMES, "stranger")) as (*machines, stranger):
        nodes = "".join(NODE.format(h.name, h.ip) for h in machines)
        (conf / "slurm.conf").write_text(CONF.replace("PartitionName", f"{nodes}PartitionName"))
        for host in machines:
            host.variables["SLURM_CONF"] = str(conf / "slurm.conf")
            home = tmp_path / "home"  # shared, as in a place that has Slurm
            host.variables["HOME"] = str(home)
            host.run(
                "mkdir", "-p", "/run/munge", "/run/slurm-state", "/run/slurmd-spool", str(home)
            )
            host.run("chmod", "755", "/run/munge")
            host.run("munged", "--force", f"--key-file={conf}/munge.key",
                     "--socket=/run/munge/munge.socket.2", "--pid-file=/run/munge/munged.pid",
                     "--log-file=/run/munge/munged.log", "--seed-file=/run/munge/seed")  # fmt: skip
        machines[0].run("slurmctld", "-c")
        for host in machines:
            host.run("slurmd", "-N", host.name, "-c")
        until(lambda: "idle" in machines[0].run("sinfo", "-h", "-o", "%T %D", code=None)
              and "3" in machines[0].run("sinfo", "-h", "-t", "idle", "-o", "%D", code=None),
              60, "three idle nodes")  # fmt: skip
        yield [*machines, stranger]


def test_a_search_runs_as_a_slurm_job_on_three_machines(slurm, tmp_path, monkeypatch):
    (*machines, stranger), runs = slurm, tmp_path / "runs"
    head = machines[0]
    runs.mkdir()
    monkeypatch.setenv("METASEARCH_TOKEN", str(tmp_path / "home" / ".metasearch" / "token"))
    token = make_token()[0].read_text()
    tree = {"search": {"trials": 6}, "trial": trial(blobs_file(tmp_path / "blobs.npz"))}
    tree["trial"] |= {"seed": 0, "budget": LONG}
    search = tmp_path / "search.yaml"
    search.write_text(space.dump(tree))
    out = tmp_path / "cluster"
    head.run(
        "metasearch", "cluster", "render", "slurm", "--search", str(search), "--runs", str(runs),
        "--nodes", "3", "--gpus", "2", "--gpus-per-trial", "1", "-s", "cpus=2", "-s", "memory=2",
        "-s", "time=00:20:00", "-s", f"bin={Path(sys.executable).parent}", "-o", str(out),
    )  # fmt: skip
    began = time.monotonic()
    told = head.run("sbatch", str(out / "search.sbatch"))
    job = re.search(r"\d+", told)[0]
    reports = runs / "metasearch" / "trials"
    until(lambda: [*reports.glob("*/ran_on.jsonl")], 300, "a trial begins")
    first = 20000 + int(job) % 1200 * 10  # as `cluster/README.md` states it
    stated = {*SLURMS, *WORKERS, *range(first, first + 8)}
    assert first + 1 in sees_nothing(stranger, machines, stated), "Ray is up on all"
    # What Slurm itself sends near the end of a job's time.
    head.run("scancel", "--signal=USR1", "--batch", job)
    until(lambda: "PENDING" in head.run("squeue", "-h", "-j", job, "-o", "%T"), 120, "the queue")
    head.run("scontrol", "update", f"JobId={job}", "StartTime=now")  # not in two minutes
    until(lambda: not head.run("squeue", "-h", "-j", job, code=None).strip(), 420, "the job's end")
    log = next(runs.glob("*.log")).read_text()
    spent = time.monotonic() - began
    run = open_run(runs / "metasearch")
    assert run.count("complete") == 6, log
    assert "interrupted; in the queue again" in log and len(run.trials) == 6, log
    assert "ok    machines: h" in log and "ok    token" in log, log
    where = {host for t in run.trials for host in t.ran_on()}
    assert len(where) > 1, f"trials ran on {where} alone\n{log}"
    assert places_of(token, machines, tmp_path) == []
    head.run("metasearch", "export", str(run.folder), "-o", str(tmp_path / "best"), within_s=240)
    assert (tmp_path / "best" / "model.safetensors").is_file()
    print(f"Slurm: 6 trials on {len(where)} of 3 machines in {spent:.0f} s from sbatch to the end")  # noqa: T201
