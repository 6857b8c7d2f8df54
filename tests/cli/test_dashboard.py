"""A run in optuna-dashboard."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from metasearch.observe.trial_files import TrialFiles
from metasearch.search.mirror import Mirror
from metasearch.search.run import run_search
from tests.search.plans import plan
from tests.search.planted import TRIAL


@pytest.fixture
def pictured(place):
    folder = place / "runs" / "pictured"
    run_search(plan({"pictures": True}, trials=3), folder, [TrialFiles()], trial=TRIAL)
    return folder


def test_the_copy_holds_every_trial_with_its_last_picture_and_the_run_is_left_alone(
    pictured, place
):
    before = (pictured / "study.journal").read_bytes()
    mirror = Mirror(pictured, place / "copy")
    (study,) = mirror._storage.get_all_studies()
    assert len(mirror._storage.get_all_trials(study._study_id)) == 3
    attrs = mirror._storage.get_study_system_attrs(study._study_id)
    told = [json.loads(value) for key, value in attrs.items() if "artifacts" in key]
    assert attrs["study:metric_names"] == ["distance"]
    assert len(told) == 3
    for picture in told:
        assert (mirror.pictures / picture["artifact_id"]).read_bytes().startswith(b"\x89PNG")
    mirror.refresh()
    assert len(list(mirror.pictures.iterdir())) == 3
    assert (pictured / "study.journal").read_bytes() == before


def test_the_copy_follows_a_run_line_by_whole_line(pictured, place):
    journal = pictured / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    mirror = Mirror(pictured, place / "copy")
    assert mirror.journal.read_bytes().startswith(whole[: whole[:-20].rfind(b"\n") + 1])
    journal.write_bytes(whole)
    mirror.refresh()
    assert whole.splitlines()[-1] in mirror.journal.read_bytes().splitlines()


def test_without_the_package_one_line_says_what_to_install(cli, pictured, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = cli("dashboard", "pictured")
    assert told.code == 4
    assert told.err == (
        "error: optuna-dashboard is not installed. Run: pip install 'metasearch[dashboard]'\n"
    )


def test_a_taken_port_is_told(cli, pictured):
    pytest.importorskip("optuna_dashboard")
    with socket.create_server(("127.0.0.1", 0)) as server:
        told = cli("dashboard", "pictured", "--port", server.getsockname()[1])
    assert told.code == 4
    assert "is taken" in told.err


def test_it_is_served_on_this_machine_until_ctrl_c(pictured, place):
    pytest.importorskip("optuna_dashboard")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "metasearch", "dashboard", str(pictured), "--port", str(port)]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as served:
        address = served.stdout.readline().strip()
        assert address.startswith(f"http://127.0.0.1:{port}/")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
            (study,) = json.loads(answer.read())["study_summaries"]
        assert study["study_name"] == "planted"
        served.send_signal(signal.SIGINT)
        assert served.wait(timeout=30) == 0
