"""What a template leaves open, and what may stand there.

Values are put into YAML and into shell scripts as they are. So each must match its pattern whole,
and no pattern admits a quote, a space, a line break, or what a shell would expand.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from metasearch.errors import ConfigError
from metasearch.registry import nearest

_NAME = r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?"
_WORD = r"[A-Za-z0-9][-A-Za-z0-9_.]*"
_PATH = r"(~|/|\.{1,2}/)?[-A-Za-z0-9_./@+]+"
_BUCKET = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[-A-Za-z0-9_.]+)*"
_COUNT = r"[1-9][0-9]{0,4}"
_HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]{0,250}[A-Za-z0-9])?"
_PORT = r"[1-9][0-9]{3,4}"
_URL = r"https://[-A-Za-z0-9._/]+"
_IMAGE = r"[a-z0-9]([-a-z0-9._/:]*[a-z0-9])?(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})"
_FIXED_PORTS = ("6382", "6383", "6384", "6385")  # of a node's other services


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Field:
    """One thing that a template leaves open."""

    about: str
    pattern: str
    like: str  # a value that fits
    default: str | None = None  # None: has to be given; "": lines that name it are left out


FIELDS: Mapping[str, Field] = {
    "name": Field("what job, cluster and run are called", _NAME, "leaves", "metasearch"),
    "search": Field("the search file", _PATH, "leaves.yaml", "search.yaml"),
    "runs": Field("the folder of runs, on a disk that all nodes share, or s3://bucket/runs",
                  f"{_BUCKET}|~?/[-A-Za-z0-9_./@+]+", "/shared/runs"),
    "nodes": Field("nodes, or the most workers at once; over ssh as many as `workers`", _COUNT,
                   "4", "1"),
    "gpus": Field("GPUs of a node", r"[0-9]{1,2}", "2", "1"),
    "cpus": Field("cores of a node", _COUNT, "16", "8"),
    "memory": Field("memory of a node, in GiB", _COUNT, "64", "32"),
    "gpus_per_trial": Field("GPUs of a trial", r"auto|[0-9]+(\.[0-9]+)?", "0.5", "1"),
    "ray": Field("version of Ray on every node", r"[0-9]+\.[0-9]+\.[0-9]+", "2.60.0",
                 _version("ray")),
    "bin": Field("folder with `metasearch` and `ray` on every node", _PATH, "/opt/venv/bin",
                 str(Path(sys.prefix) / "bin")),
    "image_bin": Field("the same in the machine image", _PATH, "/opt/venv/bin", "/opt/venv/bin"),
    "image": Field("container image, with a tag or a digest", _IMAGE, "registry/metasearch:1.0"),
    "torch_index": Field(
        "where pip gets torch", _URL, "https://pypi.org/simple", "https://pypi.org/simple"
    ),
    "namespace": Field("Kubernetes namespace", _NAME, "research", "default"),
    "claim": Field("PersistentVolumeClaim of the runs, ReadWriteMany", _NAME, "runs", "runs"),
    "secret": Field("Secret with AWS_ACCESS_KEY_ID and the like, for runs in a bucket", _NAME,
                    "bucket", ""),
    "queue": Field("Kueue's LocalQueue", _NAME, "research", ""),
    "cluster_queue": Field("Kueue's ClusterQueue", _NAME, "gpus", ""),
    "head_label": Field("label of nodes that are not preempted, for the head",
                        r"[A-Za-z0-9][-A-Za-z0-9_./]*", "pool", ""),
    "head_value": Field("the value of that label", _WORD, "on-demand", ""),
    "partition": Field("Slurm partition", _WORD, "gpu", ""),
    "account": Field("Slurm account", _WORD, "lab", ""),
    "time": Field("time limit of the job", r"([0-9]+-)?[0-9]{1,3}:[0-9]{2}:[0-9]{2}",
                  "1-00:00:00", "24:00:00"),
    "head": Field("address of the first machine, private", _HOST, "10.0.0.1"),
    "workers": Field("addresses of the others", rf"\[{_HOST}(, ?{_HOST})*\]",
                     "[10.0.0.2, 10.0.0.3]"),
    "ssh_user": Field("account on the machines", r"[a-z_][-a-z0-9_]*", "ray", "ray"),
    "ssh_key": Field("private key for these machines alone", _PATH, "~/.ssh/cluster"),
    "token_folder": Field("folder of the token on this machine", _PATH, "~/.metasearch",
                          "~/.metasearch"),
    "region": Field("region of the cloud", _WORD, "eu-west-1"),
    "zone": Field("zone of the region", _WORD, "europe-west4-a"),
    "project": Field("project of the cloud", _WORD, "my-project"),
    "instance": Field("kind of machine for the workers", _WORD, "g5.2xlarge"),
    "image_id": Field("machine image, or its id", r"[/A-Za-z0-9][-A-Za-z0-9_./:]*", "ami-0abc"),
    "worker_profile": Field("instance profile of the workers, for runs in a bucket",
                            r"arn:aws[-a-z]*:iam::[0-9]+:instance-profile/[-A-Za-z0-9_./+=,@]+",
                            "arn:aws:iam::123456789012:instance-profile/runs", ""),
    "port": Field("port of the head", _PORT, "6379", "6379"),
    "node_port": Field("port of each node's manager", _PORT, "6380", "6380"),
    "object_port": Field("port for objects between nodes", _PORT, "6381", "6381"),
    "first_port": Field("first port of workers", _PORT, "10002", "10002"),
    "last_port": Field("last port of workers", _PORT, "19999", "19999"),
}  # fmt: skip


def settle(names: set[str], given: Mapping[str, str]) -> dict[str, str]:
    """A value for each of a template's fields: what was given, or the default.

    Raises:
        ConfigError: a field is unknown, missing, or has a value that may not stand there; all such
            faults are told at once.
    """
    wrong = [
        f"{name}: no field of this template; `metasearch cluster fields` lists those."
        f"{nearest(name, sorted(names))}"
        for name in given
        if name not in names
    ]
    settled = {}
    for name in sorted(names):
        field = FIELDS[name]
        value = given.get(name, field.default)
        if value is None:
            wrong.append(f"{name}: {field.about}; has to be given, as -s {name}={field.like}")
        elif value != field.default and not re.fullmatch(field.pattern, value):
            wrong.append(
                f"{name}: {value!r} may not stand there ({field.about}); like {field.like}"
            )
        else:
            settled[name] = value
    if not wrong:
        settled = _derived(settled, given)
        wrong = list(_at_odds(settled))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return settled


def _derived(settled: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Fields that were not given and follow from others."""
    derived = dict(settled)
    if "workers" in settled and "nodes" not in given:
        derived["nodes"] = str(settled["workers"].count(",") + 1)
    if settled.get("gpus") == "0" and "gpus_per_trial" in settled and "gpus_per_trial" not in given:
        derived["gpus_per_trial"] = "0"
    return derived


def _at_odds(settled: Mapping[str, str]) -> Iterator[str]:
    """What each by itself might be, and together cannot."""
    gpus, share = settled.get("gpus"), settled.get("gpus_per_trial", "0")
    if gpus is not None and (1.0 if share == "auto" else float(share)) > float(gpus):
        yield f"gpus_per_trial: {share} of the {gpus} GPUs of a node; no trial would fit."
    if "workers" in settled and settled["nodes"] != str(settled["workers"].count(",") + 1):
        yield f"nodes: {settled['nodes']}, but workers lists {settled['workers']}; leave nodes out."
    for name, needed in (("head_label", "head_value"), ("head_value", "head_label"),
                         ("cluster_queue", "queue")):  # fmt: skip
        if settled.get(name) and needed in settled and not settled[needed]:
            yield f"{name}: does nothing without {needed}; like {FIELDS[needed].like}"
    ports = [settled[x] for x in ("port", "node_port", "object_port") if x in settled]
    if len({*ports, *_FIXED_PORTS}) < len(ports) + len(_FIXED_PORTS):
        taken = ", ".join(_FIXED_PORTS)
        yield f"port, node_port, object_port: {', '.join(ports)}; three apart, and none of {taken}."
    if int(settled.get("first_port", 0)) > int(settled.get("last_port", 0)):
        yield f"first_port: {settled['first_port']} comes after last_port {settled['last_port']}."
