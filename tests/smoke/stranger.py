"""What somebody sees who shares the network, and was not asked: ports, answers, and the token."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tests.smoke.lab import Host

RAYS = {*range(6379, 6386), *range(10001, 20000)}
"""What `cluster/README.md` says is open on machines that Ray has for itself."""

PATHS = ("/", "/api/version", "/api/jobs/", "/api/cluster_status", "/nodes?view=summary", "/logs",
         "/api/v0/nodes", "/api/v0/logs", "/api/actors", "/metrics", "/api/studies")  # fmt: skip
_SCAN = """
import json, socket, sys
found = []
for port in range(1, 65536):
    with socket.socket() as tried:
        tried.settimeout(2)
        if tried.connect_ex((sys.argv[1], port)) == 0:
            found.append(port)
print(json.dumps(found))
"""
_ASK = """
import http.client, json, sys
host, ports, paths = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
found = {}
for port in ports:
    for path in paths:
        try:
            line = http.client.HTTPConnection(host, port, timeout=3)
            line.request("GET", path)
            found[f"{port}{path}"] = line.getresponse().status
        except TimeoutError:  # it waits for something else than words
            break
        except Exception:  # it does not speak HTTP, or not with us
            pass
print(json.dumps(found))
"""
_JOIN = """
import os, ray
ray.init(address=os.environ["TRY"], log_to_driver=False)
print("JOINED", ray.cluster_resources())
"""


def open_ports(stranger: Host, host: Host) -> list[int]:
    """Where a host listens for a stranger."""
    return list(json.loads(stranger.run(sys.executable, "-c", _SCAN, host.ip, within_s=300)))


def answers(stranger: Host, ip: str, ports: Sequence[int]) -> dict[str, int]:
    """Port and path -> the status of an answer to who shows no token."""
    words = (sys.executable, "-c", _ASK, ip, json.dumps(list(ports)), json.dumps(PATHS))
    return dict(json.loads(stranger.run(*words, within_s=300)))


def sees_nothing(stranger: Host, machines: Sequence[Host], stated: Collection[int]) -> set[int]:
    """Assert that machines listen where it is stated, and tell who shows no token nothing.

    Returns the ports that are open on all of them.
    """
    found = {host.name: open_ports(stranger, host) for host in machines}  # all, before a job ends
    for host in machines:
        ports = found[host.name]
        unstated = sorted(set(ports) - set(stated))
        told = answers(stranger, host.ip, ports)
        print(f"open on {host.name}: {ports}, not stated: {unstated}; answers over HTTP to who "  # noqa: T201
              f"shows no token: {sorted(set(told.values())) or 'none'}")  # fmt: skip
        assert not unstated, f"{host.name} listens at {unstated}"
        assert 200 not in told.values(), told
    return set.intersection(*map(set, found.values()))


def joins(stranger: Host, address: str) -> bool:
    """Whether Ray lets somebody in who shows no token."""
    before = dict(stranger.variables)
    stranger.variables.update(TRY=address, RAY_AUTH_MODE="disabled")
    # Ray may try for ever.
    told = stranger.run("timeout", "-k", "5", "45", sys.executable, "-c", _JOIN, code=None)
    stranger.variables = before
    return "JOINED" in told


def places_of(token: str, machines: Sequence[Host], folder: Path) -> list[str]:
    """Where the token stands: processes, logs of Ray, and files other than the token's own."""
    found = []
    for host in machines:
        if token in host.run("ps", "auxww"):
            found.append(f"ps on {host.name}")
        grep = f"grep -rlF {token} /tmp/ray /tmp/metasearch-* 2>/dev/null || true"
        script = host.folder / "look"
        script.write_text(grep)  # not on a command line, where `ps` would show it
        found += [f"{host.name}:{line}" for line in host.run("bash", str(script)).splitlines()]
        script.unlink()
    files = [f for f in folder.rglob("*") if f.is_file() and f.name not in {"token", "auth_token"}]
    return found + [str(f) for f in files if token.encode() in f.read_bytes()]
