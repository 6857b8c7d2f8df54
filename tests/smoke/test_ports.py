"""What a search on one machine, TensorBoard and the dashboard open to the network: nothing."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator

import pytest

from metasearch import space
from metasearch.cluster.scripts import MEASURED
from tests.small import blobs_file, searched, trial
from tests.smoke.lab import Host, hosts, missing, until
from tests.smoke.stranger import answers, joins, open_ports, places_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]

BOARD, STUDY, RAYS = 6006, 8080, 8265
QUIET = dict(word.split("=") for word in MEASURED.split())
TOKEN = "cccc1111dddd2222" * 4


@pytest.fixture
def two(tmp_path) -> Iterator[list[Host]]:
    """Somebody who searches, and a stranger on the same network."""
    with hosts(tmp_path / "hosts", ("mine", "stranger")) as machines:
        machines[0].variables["METASEARCH_HOME"] = str(tmp_path / "runs")
        yield machines


def test_a_search_and_what_shows_it_listen_on_loopback_alone(two, tmp_path):
    mine, stranger = two
    data = blobs_file(tmp_path / "blobs.npz")
    searched(tmp_path / "runs" / "done", trial(data), trials=3)
    (tmp_path / "runs" / "done" / "tensorboard").mkdir()
    budget = {"gradients": 10**9, "reports": 2, "tasks_per_step": 4}  # it goes on until it is ended
    tree = {"trial": trial(data, budget=budget), "search": {"trials": 2}}
    (tmp_path / "long.yaml").write_text(space.dump(tree))
    said = tmp_path / "said"
    with said.open("w") as out:  # no pipe, which what they start would hold open
        board, study, search = (
            mine.start("metasearch", *words, stdout=out)
            for words in (
                ("tensorboard", "done", "--port", str(BOARD)),
                ("dashboard", "done", "--port", str(STUDY)),
                ("search", str(tmp_path / "long.yaml")),
            )
        )
    workers = tmp_path / "runs" / "long" / "trials"
    until(lambda: [*workers.glob("*/ran_on.jsonl")] or search.poll() is not None, 240, "a trial")
    assert search.poll() is None, said.read_text()
    until(lambda: {BOARD, STUDY} <= _own(mine), 120, "the pages are served")
    own = _own(mine)
    found = open_ports(stranger, mine)
    print(f"search, tensorboard, dashboard: {len(own)} ports on loopback, {len(found)} open to others")  # noqa: T201 # fmt: skip
    assert found == []
    token = _token(mine)
    assert _ray_of(mine) and not joins(mine, _ray_of(mine)), "nor may others of the same machine"
    assert places_of(token, [mine], tmp_path) == []
    print("the token of a search stands in no ps, no log and no file")  # noqa: T201
    for process in (search, board, study):
        process.kill()
        process.wait()


@pytest.mark.skipif(
    importlib.util.find_spec("aiohttp") is None,
    reason="NOT RUN: Ray's dashboard needs pip install 'ray[default]'",
)
def test_rays_dashboard_answers_nobody_without_a_token(two, tmp_path):
    mine, stranger = two
    mine.variables.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, **QUIET)
    mine.run("ray", "start", "--head", f"--node-ip-address={mine.ip}", "--port=6379",
             "--dashboard-host=127.0.0.1", "--disable-usage-stats")  # fmt: skip
    until(lambda: RAYS in _own(mine), 60, "the dashboard is up")
    found = open_ports(stranger, mine)
    assert RAYS not in found
    local = answers(mine, "127.0.0.1", sorted(_own(mine)))
    assert f"{RAYS}/" in local, "it is up"
    remote = answers(stranger, mine.ip, found)
    bare = {place for place, status in remote.items() if status == 200}
    told = {place for place, status in local.items() if status == 200 and "/api" in place}
    what = f"strangers {remote or 'none'}, on loopback without a token {local}"
    print(f"ray's dashboard: {len(found)} ports open; answers to {what}")  # noqa: T201
    assert not told and not {place for place in bare if "/api" in place}
    assert places_of(TOKEN, [mine], tmp_path) == []


def _own(host: Host) -> set[int]:
    """Where a host listens at all."""
    return {int(p) for p in re.findall(r":(\d+)\s", host.run("ss", "-Hltn"))}


def _ray_of(host: Host) -> str:
    found = re.search(r"--gcs-address=(\S+)", host.run("ps", "auxww"))
    return found[1] if found else ""


def _token(host: Host) -> str:
    """What the search's own Ray was started with, from where only its user may look."""
    code = ("import pathlib, re\n"
            "for one in pathlib.Path('/proc').glob('[0-9]*/environ'):\n"
            "    found = re.search(rb'RAY_AUTH_TOKEN=(\\w+)', one.read_bytes())\n"
            "    if found: print(found[1].decode()); break")  # fmt: skip
    token = host.run(sys.executable, "-c", code).strip()
    assert len(token) == 64
    return token
