"""What a file for `ray up` may say: Ray's own schema, and what must not be open."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from metasearch.cluster.scripts import MEASURED, unlisted_ports
from metasearch.cluster.shape import ANYTHING, faults
from metasearch.space import Fault

_TOKEN = "RAY_AUTH_MODE=token"
_ASKS = re.compile(rf"{_TOKEN}\s+(\w+=\S+\s+)*\S*ray start")  # a variable of that very command
_ANYBODY = {"0.0.0.0/0", "::/0"}
_SPOT = ("InstanceMarketOptions", "scheduling", "priority")


def rayup_faults(tree: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with a file for `ray up`."""
    wrong = list(_schema(tree))
    yield from wrong
    if wrong:
        return
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        yield from _start(tree.get(key, []), key)
    if tree["provider"]["type"] == "local":
        yield from _local(tree)
    else:
        yield from _types(tree)
    group = tree["provider"].get("security_group", {})
    for i, rule in enumerate(group.get("IpPermissions", [])):
        ranges = [*rule.get("IpRanges", []), *rule.get("Ipv6Ranges", [])]
        if any(value in _ANYBODY for block in ranges for value in block.values()):
            place = ("provider", "security_group", "IpPermissions", i)
            yield Fault(place, "open to the whole internet. Name the network that may come in.")


def _schema(tree: Mapping[str, Any]) -> Iterator[Fault]:
    """Ray's own checks, which speak of the file as a whole."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    shape = {"cluster_name!": str, "provider!": {"type!": str, "*": ANYTHING},
             "auth": {"ssh_user!": str, "*": ANYTHING}, "*": ANYTHING}  # fmt: skip
    wrong = list(faults(tree, shape))
    yield from wrong
    if wrong:
        return
    chatter = logging.getLogger("ray.autoscaler._private.util")
    before = chatter.level
    chatter.setLevel(logging.WARNING)  # on what it fills in
    try:
        validate_config(prepare_config(copy.deepcopy(dict(tree))))
    except Exception as error:  # also bare TypeErrors, where a value is of another type
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Fault((), f"Ray would refuse it: {message}")
    finally:
        chatter.setLevel(before)


def _start(commands: Any, key: str) -> Iterator[Fault]:
    started = [(i, str(c)) for i, c in enumerate(commands) if "ray start" in str(c)]
    if not started:
        yield Fault((), f"{key}: nothing says `ray start`.")
    for i, line in started:
        if not _ASKS.search(line):
            message = f"open: whoever reaches the head runs code. Begin with {_TOKEN}."
            yield Fault((key, i), message)
        if MEASURED not in line:
            message = f"Ray serves what it measures to anybody, without a token. Add {MEASURED}."
            yield Fault((key, i), message)
        if "--head" in line and "--dashboard-host=127.0.0.1" not in line:
            yield Fault((key, i), "the dashboard must be on loopback: --dashboard-host=127.0.0.1.")
        yield from (Fault((key, i), message) for message in unlisted_ports(line))
        if "RAY_AUTH_TOKEN=" in line:
            yield Fault((key, i), "a token on a command line is seen by all. Name its file.")


def _local(tree: Mapping[str, Any]) -> Iterator[Fault]:
    workers = tree["provider"].get("worker_ips", [])
    if tree.get("max_workers") != len(workers) or tree.get("min_workers") != len(workers):
        message = f"{len(workers)} workers are listed; min_workers and max_workers must say so."
        yield Fault(("provider", "worker_ips"), message)
    if tree["provider"].get("head_ip") in workers:
        yield Fault(("provider", "worker_ips"), "the head is listed among the workers.")


def _types(tree: Mapping[str, Any]) -> Iterator[Fault]:
    types = tree.get("available_node_types", {})
    head = types.get(tree.get("head_node_type"))
    if head is None:
        message = f"names none of the node types: {', '.join(map(str, types)) or 'there are none'}."
        yield Fault(("head_node_type",), message)
        return
    place = ("available_node_types", tree["head_node_type"])
    inside = {**head.get("node_config", {}), **head["node_config"].get("azure_arm_parameters", {})}
    if any(key in inside for key in _SPOT):
        yield Fault(place, "the head runs the search: it must not be on the spot market.")
    if head.get("resources", {}).get("CPU") != 0:
        yield Fault(place, "trials would run on the head. Say resources: {CPU: 0}.")
