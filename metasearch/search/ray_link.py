"""Ray itself: one of our own on this machine, or a cluster that is joined; and its machines."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from metasearch.cluster.token import joining
from metasearch.errors import EnvironmentFault, MetasearchError
from metasearch.search.backend import Resources, knock, unreachable
from metasearch.search.process import attribute, born_deaf, environment
from metasearch.search.share import Card
from metasearch.search.worker import load_trial

log = logging.getLogger(__name__)

_PRIVATE = {  # of a Ray of our own
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on the loopback interface alone
}
_STRANGER = """import sys
from ray._raylet import GcsClient
GcsClient(address=sys.argv[1]).internal_kv_keys(b"", namespace=None, timeout=5)
"""
_STRANGER_S = 20.0  # for which it may try
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ROOM = b"metasearch"  # of the cluster's store of keys and values
_ANSWER_S = 1.0  # for which a worker waits for an answer
_NOTE_S = 10.0  # after which machines that do not answer are told
_STORE = 200 * 2**20  # bytes for reports on their way; Ray would take a third of the memory


@dataclass(frozen=True)
class Machine:
    """One machine of a cluster that is up."""

    id: str
    host: str
    cpus: float
    gpus: float
    card: str  # Ray's name of its kind of GPU; empty without one


@contextlib.contextmanager
def connect(
    address: str | None, resources: Resources, *, even_open: bool = False
) -> Iterator[None]:
    """Join the cluster at `address`, or start a Ray on this machine, until the body ends.

    Raises:
        EnvironmentFault: Ray cannot be started or reached; or, unless `even_open`, the cluster
            takes anybody, from other machines too.
    """
    with contextlib.ExitStack() as stack:
        if address is not None:
            knock(address)
            stack.enter_context(_told(joining()))
        else:
            stack.enter_context(_private())  # until Ray has ended: it reads its token to the last
        stack.callback(ray.shutdown)  # also of what only half started
        try:
            if address is not None:
                ray.init(address, log_to_driver=False)
            else:
                at_once, each = resources.max_concurrent, resources.cpus_per_trial
                with born_deaf():
                    ray.init(
                        "local",
                        num_cpus=at_once * each if at_once else None,
                        include_dashboard=False, log_to_driver=False, object_store_memory=_STORE,
                    )  # fmt: skip
        except Exception as fault:
            raise unreachable(address, fault) from fault
        if address is not None and not even_open:
            _refuse_if_open()
        yield


def takes_strangers() -> bool | None:
    """Whether the cluster that this process is connected to serves who shows no token.

    A process that has none asks; None if it could not find out.
    """
    own = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    variables = {name: value for name, value in os.environ.items() if name not in own}
    try:
        asked = subprocess.run(
            [sys.executable, "-P", "-c", _STRANGER, _head()],
            env={**variables, "RAY_AUTH_MODE": "disabled"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_STRANGER_S,
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    if asked.returncode == 0:
        return True
    return False if b"AuthenticationError" in asked.stderr else None


def _refuse_if_open() -> None:
    if takes_strangers() and _reaches_beyond(_head()):
        raise EnvironmentFault(
            f"the Ray cluster at {_head()} takes anybody who reaches it, and is not on the "
            "loopback interface alone: they may run code as you. Start it with a token "
            "(`metasearch cluster render` writes how), or say --i-know-this-is-open."
        )


def _reaches_beyond(address: str) -> bool:
    """Whether a cluster can be spoken to from other machines; one on loopback, by trying."""
    host, _, port = address.rpartition(":")
    if host.strip("[]") not in _LOOPBACK:
        return True
    mine = ray.util.get_node_ip_address()
    if mine in _LOOPBACK:
        return False
    try:
        socket.create_connection((mine, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _head() -> str:
    return str(ray.get_runtime_context().gcs_address)


def machines() -> list[Machine]:
    """The machines of the Ray that this process is connected to, and that are alive."""
    found = []
    for node in ray.nodes():
        have: Mapping[str, float] = node["Resources"]
        if node["Alive"]:
            kinds = [key for key in have if key.startswith("accelerator_type:")]
            card = kinds[0].partition(":")[2] if kinds else ""
            host = str(node["NodeManagerHostname"])
            cpus, gpus = have.get("CPU", 0.0), have.get("GPU", 0.0)
            found.append(Machine(str(node["NodeID"]), host, cpus, gpus, card))
    return found


def on_cards(probe: str, recipes: Sequence[Mapping[str, Any]], cpus: int) -> list[Card]:
    """What a probe says of one whole card of each machine that has any.

    Waits until each has a card that nobody uses.

    Raises:
        EnvironmentFault: a machine was lost meanwhile, or the probe failed there.
    """
    cards = [machine for machine in machines() if machine.gpus >= 1]
    given = probe, [dict(recipe) for recipe in recipes], cpus
    return [Card(**card) for card in _ask(cards, _probe, given, gpus=1) if card]


def on_each(function: Callable[..., Any], *given: Any) -> list[Any]:
    """What a function of this package returns on each machine that can run trials.

    Raises:
        EnvironmentFault: a machine was lost meanwhile, or cannot run it.
    """
    return _ask([machine for machine in machines() if machine.cpus >= 1], function, given)


def hurry(search: str) -> None:
    """Let the workers of a search know that it is about to end."""
    ray_worker.global_worker.gcs_client.internal_kv_put(
        search.encode(), b"ends", overwrite=True, namespace=_ROOM
    )


def hurried(search: str) -> bool:
    """In a worker: whether its search is about to end, or its machine to be taken away."""
    gcs = ray_worker.global_worker.gcs_client
    try:
        if gcs.internal_kv_exists(search.encode(), namespace=_ROOM, timeout=_ANSWER_S):
            return True
        leaving = gcs.get_draining_nodes(timeout=_ANSWER_S)
    except Exception:  # Ray's own kinds; who cannot ask goes on working
        return False
    return ray.get_runtime_context().get_node_id() in leaving


def dashboard() -> str:
    """Where the cluster's dashboard listens; empty if nowhere."""
    return ray_worker.get_dashboard_url() or ""


def _ask(
    places: Iterable[Machine], function: Callable[..., Any], given: tuple[Any, ...], gpus: int = 0
) -> list[Any]:
    asked, task = {}, ray.remote(max_retries=0)(function)
    for machine in places:
        place = NodeAffinitySchedulingStrategy(machine.id, soft=False)
        how = {"num_cpus": 0, "num_gpus": gpus, "scheduling_strategy": place}
        asked[task.options(**how).remote(*given)] = machine.host
    _wait(asked)
    return [_told_by(host, answer) for answer, host in asked.items()]


def _wait(asked: Mapping[Any, str]) -> None:
    """Wait for all answers; if that takes long, say for whose."""
    late = list(asked)
    if late:
        _, late = ray.wait(late, num_returns=len(late), timeout=_NOTE_S)
    if late:
        hosts = ", ".join(sorted({asked[answer] for answer in late}))
        log.warning("waiting for %s: busy, or without a free card", hosts)
        ray.wait(late, num_returns=len(late))


def _told_by(host: str, answer: Any) -> Any:
    try:
        return ray.get(answer)
    except RayError as fault:
        raised = fault.cause if isinstance(fault, RayTaskError) else fault
        if isinstance(raised, MetasearchError):
            raise raised from fault
        lines = [" ".join(line.split()) for line in str(raised).splitlines() if line.strip()]
        lines[0] = f"{type(raised).__name__}: {lines[0]}"
        why = lines[-1 if "Traceback" in str(raised) else 0]
        raise EnvironmentFault(
            f"{host} was asked, and failed ({why}). See that it is up, with this version of "
            "metasearch and Ray, and give the same command again."
        ) from fault


def _probe(name: str, recipes: Sequence[Mapping[str, Any]], cpus: int) -> dict[str, Any] | None:
    card = load_trial(name)(recipes, cpus)
    return vars(card) if isinstance(card, Card) else None


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """Keep a Ray of our own off the network, and behind a token that lives as long as it does.

    Ray would take the token from the home directory, and leave one there.
    """
    variables = {**_PRIVATE, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with attribute(ray_constants, "ENABLE_RAY_CLUSTER", False), _told(variables):  # noqa: FBT003
        yield


@contextlib.contextmanager
def _told(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for Ray, which reads them when it is imported and when it first needs them."""
    try:
        with environment(variables):
            _read_token_again()
            yield
    finally:
        _read_token_again()


def _read_token_again() -> None:
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
