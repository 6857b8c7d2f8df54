"""What Kubernetes objects of a search may say: the fields that exist, and what must not be open.

The fields of RayJob and RayCluster are those of KubeRay 1.7; of pods, those that the templates
use. An object of ours needs no more, and a misspelt field is one that does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from metasearch.cluster.shape import ANYTHING, COUNT, faults
from metasearch.space import Fault, Path

_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?")
_PINNED = re.compile(r"\S+(@sha256:[0-9a-f]{64}|:(?!latest$)[A-Za-z0-9._-]+)")
_META = {"name!": str, "namespace": str, "labels": {"*": str}, "annotations": {"*": str}}
_AMOUNT = {"cpu": _QUANTITY, "memory": _QUANTITY, "ephemeral-storage": _QUANTITY, "*": ANYTHING}
_CONTAINER = {
    "name!": str,
    "image!": str,
    "command": [str],
    "args": [str],
    "env": [{"name!": str, "value": str, "valueFrom": ANYTHING}],
    "envFrom": ANYTHING,
    "securityContext": {
        "allowPrivilegeEscalation": bool,
        "capabilities": {"add": [str], "drop": [str]},
        "privileged": bool,
        "readOnlyRootFilesystem": bool,
        "runAsNonRoot": bool,
        "runAsUser": int,
    },
    "resources": {"requests": _AMOUNT, "limits": _AMOUNT},
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool, "subPath": str}],
    "lifecycle": ANYTHING,
    "ports": ANYTHING,
}
_POD = {
    "metadata": ANYTHING,
    "spec!": {
        "restartPolicy": {"Never", "Always", "OnFailure"},
        "automountServiceAccountToken": bool,
        "serviceAccountName": str,
        "nodeSelector": {"*": str},
        "affinity": ANYTHING,
        "priorityClassName": str,
        "terminationGracePeriodSeconds": int,
        "securityContext": {
            "runAsNonRoot": bool,
            "runAsUser": int,
            "runAsGroup": int,
            "fsGroup": int,
            "seccompProfile": {"type!": {"RuntimeDefault", "Localhost"}},
        },
        "tolerations": [{"key": str, "operator": {"Exists", "Equal"}, "value": str, "effect": str}],
        "initContainers": [_CONTAINER],
        "containers!": [_CONTAINER],
        "volumes": [ANYTHING],
        "hostNetwork": bool,
        "hostPID": bool,
        "hostIPC": bool,
    },
}
_START = {"num-cpus": COUNT, "num-gpus": COUNT, "dashboard-host": str, "memory": COUNT,
          "object-store-memory": COUNT, "resources": str}  # fmt: skip
_CLUSTER = {
    "rayVersion!": re.compile(r"[0-9]+\.[0-9]+\.[0-9]+"),
    "authOptions": {"mode": {"token", "disabled"}, "secretName": str, "enableK8sTokenAuth": bool},
    "networkPolicy": {
        "mode": {"DenyAll", "DenyAllIngress", "DenyAllEgress"}, "head": ANYTHING, "worker": ANYTHING
    },
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {
        "version": {"v1", "v2"}, "idleTimeoutSeconds": int, "upscalingMode": str, "*": ANYTHING
    },
    "gcsFaultToleranceOptions": ANYTHING,
    "tlsOptions": ANYTHING,
    "suspend": bool,
    "headGroupSpec!": {
        "rayStartParams": _START, "serviceType": {"ClusterIP"}, "template!": _POD,
    },
    "workerGroupSpecs": [
        {
            "groupName!": str, "replicas": int, "minReplicas": int, "maxReplicas!": int,
            "numOfHosts": int, "priority": int, "idleTimeoutSeconds": int, "suspend": bool,
            "rayStartParams": _START, "template!": _POD, "labels": ANYTHING,
        }
    ],
}  # fmt: skip
_JOB = {
    "suspend": bool,
    "submissionMode": {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"},
    "entrypoint!": str,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "activeDeadlineSeconds": int,
    "preRunningDeadlineSeconds": int,
    "backoffLimit": int,
    "runtimeEnvYAML": str,
    "entrypointNumCpus": int,
    "entrypointNumGpus": int,
    "managedBy": str,
    "deletionStrategy": ANYTHING,
    "rayClusterSpec!": _CLUSTER,
}
_SELECTOR = {
    "matchLabels": {"*": str},
    "matchExpressions": [
        {"key!": str, "operator!": {"Exists", "In", "NotIn", "DoesNotExist"}, "values": [str]}
    ],
}
_PEERS = [{"podSelector": _SELECTOR, "namespaceSelector": _SELECTOR, "ipBlock": ANYTHING}]
_RULES = [{"from": _PEERS, "to": _PEERS, "ports": ANYTHING}]
_OBJECTS: Mapping[tuple[str, str], Any] = {
    ("ray.io/v1", "RayJob"): {"metadata!": _META, "spec!": _JOB},
    ("ray.io/v1", "RayCluster"): {"metadata!": _META, "spec!": _CLUSTER},
    ("networking.k8s.io/v1", "NetworkPolicy"): {
        "metadata!": _META,
        "spec!": {
            "podSelector!": _SELECTOR, "policyTypes": [{"Ingress", "Egress"}],
            "ingress": _RULES, "egress": _RULES,
        },
    },
    ("kueue.x-k8s.io/v1beta1", "LocalQueue"): {
        "metadata!": _META, "spec!": {"clusterQueue!": str}
    },
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"): {
        "namespace": str, "resources": [str], "generatorOptions": {"disableNameSuffixHash": bool},
        "configMapGenerator": [{"name!": str, "files": [str]}],
    },
}  # fmt: skip


def object_faults(tree: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with one Kubernetes object."""
    kind = (str(tree.get("apiVersion")), str(tree.get("kind")))
    if kind not in _OBJECTS:
        known = ", ".join(f"{version} {name}" for version, name in _OBJECTS)
        yield Fault(("kind",), f"{' '.join(kind)} is none of the objects a search has: {known}.")
        return
    own = {"apiVersion!": str, "kind!": str, **_OBJECTS[kind]}
    wrong = list(faults(tree, own))
    yield from wrong
    if not wrong and kind[1] in _MORE:
        yield from _MORE[kind[1]](tree)


def _job(tree: Mapping[str, Any]) -> Iterator[Fault]:
    spec, path = tree["spec"], ("spec", "rayClusterSpec")
    if spec.get("submissionMode") == "SidecarMode":
        head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        if head.get("restartPolicy") != "Never":
            place = (*path, "headGroupSpec", "template", "spec")
            yield Fault(place, "beside a sidecar the head needs restartPolicy: Never.")
    if not spec.get("shutdownAfterJobFinishes"):
        yield Fault(("spec",), "without shutdownAfterJobFinishes: true idle nodes are paid for.")
    if "metasearch" not in spec["entrypoint"]:
        yield Fault(("spec", "entrypoint"), "does not start metasearch.")
    out = re.search(r"--out[= ](\S+)", spec["entrypoint"])
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounts = [m["mountPath"] for c in head["containers"] for m in c.get("volumeMounts", [])]
    if out and not out[1].startswith("s3://") and not _lies_below(out[1], mounts):
        message = f"--out {out[1]} lies on no volume, and is gone with its pod; volumes: {mounts}."
        yield Fault(("spec", "entrypoint"), message)
    yield from _cluster_spec(spec["rayClusterSpec"], path)


def _lies_below(place: str, mounts: list[str]) -> bool:
    return any(PurePosixPath(place).is_relative_to(mount) for mount in mounts)


def _cluster_spec(spec: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    if spec.get("authOptions", {}).get("mode") != "token":
        message = "open: whoever reaches the head runs code. Say authOptions: {mode: token}."
        yield Fault((*path, "authOptions"), message)
    if spec.get("networkPolicy", {}).get("mode") not in {"DenyAll", "DenyAllIngress"}:
        message = "open to every pod of the cluster. Say networkPolicy: {mode: DenyAllIngress}."
        yield Fault((*path, "networkPolicy"), message)
    head = spec["headGroupSpec"]
    place = (*path, "headGroupSpec")
    for what in ("num-cpus", "num-gpus"):
        if head.get("rayStartParams", {}).get(what) != "0":
            message = f'trials would run on the head, and take the search along. Say {what}: "0".'
            yield Fault((*place, "rayStartParams"), message)
    yield from _pod(head["template"]["spec"], (*place, "template", "spec"))
    groups = spec.get("workerGroupSpecs", [])
    if not groups:
        yield Fault(path, "there are no workers.")
    for i, group in enumerate(groups):
        inside = (*path, "workerGroupSpecs", i)
        low, high = group.get("minReplicas", 0), group["maxReplicas"]
        if not low <= group.get("replicas", low) <= high:
            yield Fault(inside, f"replicas must lie from minReplicas {low} to maxReplicas {high}.")
        yield from _pod(group["template"]["spec"], (*inside, "template", "spec"))


def _pod(spec: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    for what in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(what):
            yield Fault((*path, what), "opens the node itself to the pod. Leave it out.")
    if spec.get("automountServiceAccountToken") is not False:
        message = (
            "hands the pod an account of the cluster. Say automountServiceAccountToken: false."
        )
        yield Fault(path, message)
    context = spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield Fault((*path, "securityContext"), "runs as root. Say runAsNonRoot: true.")
    if "seccompProfile" not in context:
        yield Fault(
            (*path, "securityContext"), "seccompProfile: {type: RuntimeDefault} is missing."
        )
    yield from _volumes(spec, path)
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group, [])):
            yield from _container(container, (*path, group, i))
            yield from _root((*path, group, i), container.get("securityContext", {}))
    yield from _root((*path, "securityContext"), context)


def _root(path: Path, context: Mapping[str, Any]) -> Iterator[Fault]:
    if context.get("runAsUser") == 0:
        yield Fault(path, "runs as root. Say runAsUser: 1000.")
    if context.get("capabilities", {}).get("add"):
        yield Fault(path, "gains rights. Leave capabilities.add out.")


def _volumes(spec: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    volumes = {volume.get("name"): volume for volume in spec.get("volumes", [])}
    for name, volume in volumes.items():
        if "hostPath" in volume:
            yield Fault((*path, "volumes"), f"{name}: hostPath opens the node's disk to the pod.")
    for i, container in enumerate(spec["containers"]):
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                known = ", ".join(map(str, volumes)) or "none"
                message = f"volumeMounts: no volume {mount['name']!r}; there are {known}."
                yield Fault((*path, "containers", i), message)


def _container(container: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    if not _PINNED.fullmatch(container["image"]):
        message = f"{container['image']!r} may be another image tomorrow. Give a tag or a digest."
        yield Fault((*path, "image"), message)
    context = container.get("securityContext", {})
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield Fault(path, "may become root. Say securityContext.allowPrivilegeEscalation: false.")
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield Fault(path, "keeps rights. Say securityContext.capabilities: {drop: [ALL]}.")
    if "memory" not in container.get("resources", {}).get("limits", {}):
        yield Fault(path, "resources.limits.memory is missing: one pod may starve its node.")


def _policy(tree: Mapping[str, Any]) -> Iterator[Fault]:
    spec = tree["spec"]
    if "Ingress" not in spec.get("policyTypes", ["Ingress"]):
        yield Fault(("spec", "policyTypes"), "closes nothing to others. Say [Ingress].")
    for i, rule in enumerate(spec.get("ingress", [])):
        if not any(spec for peer in rule.get("from", []) for spec in peer.values()):
            message = "lets everybody in. Say from: which pods."
            yield Fault(("spec", "ingress", i), message)


_MORE: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Fault]]] = {
    "NetworkPolicy": _policy,
    "RayJob": _job,
    "RayCluster": lambda tree: _cluster_spec(tree["spec"], ("spec",)),
}
