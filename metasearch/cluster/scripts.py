"""What shell scripts and image files may say, and the linters that know them better."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

Line = tuple[int, str]
"""A line, from 1, and what is wrong with it; 0 for the file as a whole."""

MEASURED = "RAY_enable_metrics_collection=0 AUTOSCALER_METRIC_PORT=-1 DASHBOARD_METRIC_PORT=-1"
PORTS = ("--node-manager-port", "--object-manager-port", "--runtime-env-agent-port",
         "--metrics-export-port", "--dashboard-agent-grpc-port", "--dashboard-agent-listen-port",
         "--min-worker-port", "--max-worker-port")  # fmt: skip
LINTERS = {"shell": "shellcheck", "image": "hadolint"}
_OPEN_DASHBOARD = re.compile(r"--dashboard-host[= ](?!127\.0\.0\.1|localhost)")
_TOKEN_SHOWN = re.compile(r"RAY_AUTH_TOKEN=(?!PATH)")
_SBATCH = re.compile(r"#SBATCH\s+(--[a-z-]+)")


def shell_faults(text: str) -> Iterator[Line]:
    """What is wrong with a script that starts or joins a cluster."""
    lines = text.splitlines()
    if not text.startswith("#!/bin/bash\n"):
        yield 1, "must begin with #!/bin/bash."
    if "set -euo pipefail" not in lines:
        yield 0, "goes on after an error: say `set -euo pipefail`."
    said = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    if "ray start" in said:
        yield from _open(said)
    for number, line in enumerate(lines, start=1):
        if _OPEN_DASHBOARD.search(line):
            yield number, "the dashboard must be on loopback: --dashboard-host=127.0.0.1."
        if "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0" in line:
            yield number, "no machine could join: Ray takes it for one that has no clusters."
        if _TOKEN_SHOWN.search(line):
            yield number, "a token on a command line is seen by all. Name its file."
    if "#SBATCH" in text:
        yield from _slurm(text, said)
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    for found in re.finditer(r"line (\d+): (.*)", done.stderr):
        yield int(found[1]), f"bash: {found[2]}"


def _open(text: str) -> Iterator[Line]:
    if "RAY_AUTH_MODE=token" not in text:
        yield 0, "open: whoever reaches the head runs code. Export RAY_AUTH_MODE=token."
    if MEASURED not in text:
        yield 0, f"Ray serves what it measures to anybody, without a token. Export {MEASURED}."
    yield from ((0, message) for message in unlisted_ports(text))


def unlisted_ports(text: str) -> Iterator[str]:
    """A fault for each port that a start of Ray leaves to the system: nobody could list it."""
    for option in PORTS:
        if f"{option}=" not in text:
            yield f"would listen at any port, which no firewall can be told: say {option}=PORT."


def _slurm(text: str, said: str) -> Iterator[Line]:
    options = set(_SBATCH.findall(text))
    for needed, why in {
        "--requeue": "a lost node would end the search",
        "--signal": "trials would write no checkpoint before the end of its time",
        "--open-mode": "a requeued job would overwrite its log",
        "--time": "the partition's own limit may be minutes",
        "--nodes": "Ray has to know how many nodes there are",
    }.items():
        if needed not in options:
            yield 0, f"#SBATCH {needed} is missing: {why}."
    if "scontrol requeue" not in said:
        yield 0, "nothing puts the job in the queue again at the end of its time: scontrol requeue."
    if re.search(r"--port=[\"']?[0-9]", said):
        yield 0, "two jobs on a node would want the same port: make it from SLURM_JOB_ID."
    if "kill -TERM" not in said or not re.search(r"^trap .*USR1", said, re.MULTILINE):
        yield 0, "the signal reaches this script alone: trap USR1 and send the search TERM."
    if re.search(r"^\s*(srun|\"\$\{step)(?!.*--ntasks=).*--nodes", text, re.MULTILINE):
        yield 0, "a step asks for as many tasks as the job unless it says --ntasks."
    if re.search(r"^\s*ray stop", text, re.MULTILINE):
        yield 0, "`ray stop` ends every Ray of the user on a shared node. Let Slurm end the steps."


def image_faults(text: str) -> Iterator[Line]:
    """What is wrong with a Dockerfile."""
    lines = text.splitlines()
    user = None
    for number, line in enumerate(lines, start=1):
        word, _, rest = line.partition(" ")
        if word == "FROM" and not re.fullmatch(
            r"\S+(@sha256:[0-9a-f]{64}|:(?!latest\b)\S+).*", rest
        ):
            yield number, f"{rest!r} may be another image tomorrow. Give a tag or a digest."
        if word == "USER":
            user = rest.strip()
        if word == "ADD" and "://" in rest:
            yield number, "brings what nobody checked. COPY it from beside this file."
        if re.search(r"(curl|wget)[^|]*\|\s*(ba|z)?sh", line):
            yield number, "runs what nobody checked. Download, compare its hash, then run."
        if re.search(r"(TOKEN|PASSWORD|SECRET)\s*=", line) and word in {"ENV", "ARG"}:
            yield number, "a secret in an image is no secret. Mount it at run time."
    if user in {None, "root", "0"}:
        yield 0, "runs as root: end with USER and an account without rights."
    if not any(line.startswith("FROM ") for line in lines):
        yield 0, "has no FROM."


def lint(file: Path, kind: str) -> Iterator[Line]:
    """What a linter finds, if this machine has it."""
    program = shutil.which(LINTERS[kind])
    if program is None:
        return
    words = ["--format=gcc"] if kind == "shell" else ["--no-color", "--failure-threshold=warning"]
    done = subprocess.run(
        [program, *words, str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        for found in re.finditer(r":(\d+)(?::\d+:)? (.*)", done.stdout):
            yield int(found[1]), f"{LINTERS[kind]}: {found[2]}"
