"""Clusters that are joined: who gets in, and machines that do not answer."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
import types
from collections.abc import Iterator

import pytest
import ray
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE, _ActorClassCache

import metasearch
from metasearch import space
from metasearch.cli.app import run
from metasearch.errors import ConfigError, EnvironmentFault
from metasearch.search import ray_link
from metasearch.search.backend import Resources
from metasearch.search.ray_backend import RayBackend
from metasearch.search.ray_link import (
    Machine,
    _told,
    connect,
    machines,
    on_each,
    takes_strangers,
)
from tests.small import blobs_file, trial

pytestmark = pytest.mark.ray

STORE = 80 * 2**20
SAYS = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"}


def _head(**variables: str) -> Iterator[str]:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE}
    with _told(variables):
        made = Cluster(initialize_head=True, head_node_args=head)
    yield made.address
    made.shutdown()


@pytest.fixture(scope="module")
def an_open_one() -> Iterator[str]:
    """The address of a cluster that asks for no token."""
    yield from _head(RAY_AUTH_MODE="disabled")


@pytest.fixture(autouse=True)
def with_a_token(tmp_path, monkeypatch):
    """A user who has a token, whatever the cluster asks for."""
    for name in SAYS:
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(secrets.token_hex(32))
    monkeypatch.setenv("METASEARCH_TOKEN", str(file))
    return file


def test_a_cluster_that_asks_for_a_token_is_told_from_one_that_does_not(an_open_one, with_a_token):
    with connect(an_open_one, Resources(), even_open=True):
        assert takes_strangers() is True
    closed = _head(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=with_a_token.read_text())
    with connect(next(closed), Resources()):
        assert takes_strangers() is False
    assert next(closed, None) is None


def _pretend(monkeypatch, address: str, *, mine: str) -> None:
    """Have the cluster say that it is on loopback, and this machine that it is at `mine`."""
    near = f"127.0.0.1:{address.rpartition(':')[2]}"
    monkeypatch.setattr("metasearch.search.ray_link._head", lambda: near)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: mine)


def test_an_open_cluster_that_other_machines_reach_is_not_joined_unasked(an_open_one, monkeypatch):
    _pretend(monkeypatch, an_open_one, mine="127.0.0.2")  # where Ray listens, too
    with (
        pytest.raises(EnvironmentFault, match="say --i-know-this-is-open") as told,
        connect(an_open_one, Resources()),
    ):
        pass
    assert "\n" not in str(told.value) and not ray.is_initialized()
    with connect(an_open_one, Resources(), even_open=True):
        assert machines()


def test_an_open_cluster_that_nobody_else_reaches_is_joined(an_open_one, monkeypatch):
    _pretend(monkeypatch, an_open_one, mine="127.0.0.1")
    with connect(an_open_one, Resources()):
        assert machines()


def test_a_token_of_the_user_does_not_make_an_open_cluster_closed(an_open_one, capsys):
    check = ["cluster", "up-check", "--address", an_open_one]
    assert run(check) == 4
    shown = capsys.readouterr()
    assert "fail  token: the cluster takes anybody who reaches it" in shown.out
    assert "not fit for a search: token" in shown.err
    assert run([*check, "--i-know-this-is-open"]) == 0
    assert "warn  token: the cluster takes anybody" in capsys.readouterr().out


def test_who_cannot_be_asked_is_not_said_to_be_closed(monkeypatch):
    monkeypatch.setattr("metasearch.search.ray_link._head", lambda: "127.0.0.1:9")
    monkeypatch.setattr("metasearch.search.ray_link._STRANGER_S", 2.0)
    assert takes_strangers() is None


def _nap() -> str:
    time.sleep(1.0)
    return "awake"


def _die() -> None:
    os._exit(1)


def _fault() -> None:
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nand more")


def _refuse() -> None:
    raise ConfigError("width: 9 is too wide.")


def test_a_machine_that_fails_while_it_is_asked_is_told_in_a_line(an_open_one):
    with connect(an_open_one, Resources(), even_open=True):
        with pytest.raises(EnvironmentFault, match=r"was asked, and failed \(.*died") as died:
            on_each(_die)
        with pytest.raises(EnvironmentFault, match="an illegal memory access") as failed:
            on_each(_fault)
        with pytest.raises(ConfigError, match="too wide"):
            on_each(_refuse)
        lost = Machine("0" * 56, "gone", 1.0, 0.0, "")
        with pytest.raises(EnvironmentFault, match="gone was asked, and failed") as gone:
            ray_link._ask([lost], _nap, ())
    for told in (died, failed, gone):
        assert "\n" not in str(told.value)


def test_a_machine_without_the_package_is_told_in_a_line(an_open_one, monkeypatch):
    here = types.ModuleType("only_here")
    exec("def look(): return 1", vars(here))
    monkeypatch.setitem(sys.modules, "only_here", here)
    with (
        connect(an_open_one, Resources(), even_open=True),
        pytest.raises(EnvironmentFault, match="No module named 'only_here'") as told,
    ):
        on_each(here.look)
    assert len(str(told.value)) < 300 and "\n" not in str(told.value)


def said(caplog) -> list[str]:
    """What was logged, but by Ray."""
    return [one.getMessage() for one in caplog.records if one.name == ray_link.__name__]


def test_who_does_not_answer_is_told_after_a_while(an_open_one, monkeypatch, caplog):
    monkeypatch.setattr(ray_link, "_NOTE_S", 60.0)
    with connect(an_open_one, Resources(), even_open=True):
        assert on_each(_nap) == ["awake"] and not said(caplog)
        monkeypatch.setattr(ray_link, "_NOTE_S", 0.1)
        assert on_each(_nap) == ["awake"]
    assert said(caplog) == [f"waiting for {socket.gethostname()}: busy, or without a free card"]


class _Told:
    """An actor that tells what it was told."""

    def variables(self) -> tuple[str | None, str]:
        own = ray.get_runtime_context().get_runtime_env_string()
        return os.environ.get("AWS_SECURITY_TOKEN"), own


@pytest.mark.parametrize("token", ["seven", None])
def test_workers_that_wait_are_taken_unless_they_have_to_be_told_something(
    token, an_open_one, tmp_path, monkeypatch
):
    """A process with variables of its own has to be started first."""
    for name in ENV_VARS_TO_PROPAGATE:
        monkeypatch.delenv(name, raising=False)
    if token:
        monkeypatch.setenv("AWS_SECURITY_TOKEN", token)  # since the cluster was started
    few = Resources(max_concurrent=1)
    with RayBackend("tests.small:trial", few, tmp_path, address=an_open_one, even_open=True):
        had, own = ray.get(_ActorClassCache().get(_Told).remote().variables.remote())
    assert had == token
    assert (own == "{}") == (token is None)


@pytest.mark.parametrize("said_so", [False, True])
def test_who_says_that_a_cluster_is_open_may_search_on_it(tmp_path, monkeypatch, capsys, said_so):
    asked = []

    def joins(address, resources, *, even_open):
        asked.append((address, even_open))
        raise EnvironmentFault("planted.")

    monkeypatch.setattr("metasearch.search.ray_backend.connect", joins)
    file = tmp_path / "tiny.yaml"
    file.write_text(
        space.dump({"search": {"trials": 2}, "trial": trial(blobs_file(tmp_path / "blobs.npz"))})
    )
    flag = ["--i-know-this-is-open"] if said_so else []
    on = ["--out", str(tmp_path / "runs"), "--address", "head:6379", *flag]
    assert run(["search", str(file), *on]) == 4
    assert run(["resume", str(tmp_path / "runs" / "tiny"), *on[2:]]) == 4
    found = metasearch.load(file, out=tmp_path / "python")
    with pytest.raises(EnvironmentFault, match="planted"):
        found.run(quiet=True, address="head:6379", even_open=said_so)
    assert asked == [("head:6379", said_so)] * 3
    assert capsys.readouterr().err.count("planted.") == 2
