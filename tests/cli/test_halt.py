"""Stopping a search from another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from metasearch.search.files import read_json, write_atomically
from metasearch.search.ledger import open_run

DRIVER = """
import sys
from pathlib import Path
from metasearch.search.run import run_search
from tests.search.planted import TRIAL
from tests.search.plans import plan
sys.exit(run_search(plan({"pause": 0.1}, trials=200), Path(sys.argv[1]), trial=TRIAL).exit_code)
"""


def started(folder) -> subprocess.Popen:
    """A search in a process of its own, once it runs."""
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder)])
    end = time.monotonic() + 60
    while not list((folder / "trials").glob("*/reports.jsonl")):
        assert time.monotonic() < end and driver.poll() is None
        time.sleep(0.05)
    return driver


def test_a_running_search_is_stopped_and_can_be_resumed(cli, place):
    folder = place / "runs" / "long"
    driver = started(folder)
    told = cli("stop", "long", "--json")
    assert (told.code, driver.wait(timeout=20)) == (0, 143)
    assert set(told.json) == {"name", "pid", "state", "to_be_continued", "resume"}
    assert told.json["pid"] == driver.pid
    assert open_run(folder).state == told.json["state"] == "stopped"


def test_now_does_not_wait(cli, place):
    folder = place / "runs" / "long"
    driver = started(folder)
    assert cli("stop", folder, "--now").code == 0
    assert driver.wait(timeout=20) in {143, -15}


def test_what_does_not_run_cannot_be_stopped(cli, planted):
    told = cli("stop", "planted")
    assert told.code == 2
    assert "no search is running there" in told.err


def test_a_search_on_another_machine_is_told_with_what_to_type_there(cli, planted):
    lease = planted / "ledger" / "lease.json"
    write_atomically(lease, json.dumps({**read_json(lease), "host": "elsewhere", "pid": 7}))
    told = cli("stop", "planted")
    assert told.code == 2
    assert "ssh elsewhere kill 7" in told.err
