"""Runs that are kept in a bucket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from metasearch.cli.app import run
from metasearch.errors import ConfigError, EnvironmentFault, RunError
from metasearch.search import bucket as bucket_module
from metasearch.search import lease as lease_module
from metasearch.search.addresses import LOOKING, address_of, copy_at, to_search
from metasearch.search.backend import Order
from metasearch.search.bucket import Bucket, StoreFault
from metasearch.search.home import home_of, looked_at
from metasearch.search.lease import Lease
from metasearch.search.ledger import Ledger, open_run
from metasearch.search.run import run_search
from metasearch.search.worker import TrialRunner, whole_checkpoints
from tests.search.driver import launch, lines, wait_until
from tests.search.plans import plan
from tests.search.planted import TRIAL
from tests.stores import BUCKET, reached, serving

RUN = f"s3://{BUCKET}/runs/a"


@pytest.fixture(scope="module")
def server():
    with serving() as store:
        yield store


@pytest.fixture
def store(server, monkeypatch, tmp_path):
    """An empty bucket, and this machine, which knows nothing of it yet."""
    server.fault = lambda request: ""
    machine(monkeypatch, tmp_path, "here")
    with reached(server, monkeypatch):
        server.requests.clear()
        yield server


def machine(monkeypatch, place, name):
    """Be another machine: one with another cache."""
    monkeypatch.setenv("METASEARCH_CACHE", str(place / name))


def searched(**search):
    return run_search(plan({"snapshots": True}, **search), to_search(RUN), trial=TRIAL)


def test_a_copy_knows_of_which_object_each_file_is(tmp_path, monkeypatch):
    machine(monkeypatch, tmp_path, "here")
    for kind in (to_search(RUN), copy_at(Path(RUN), LOOKING)):
        assert address_of(kind / "ledger" / "lease.json") == f"{RUN}/ledger/lease.json"
        assert to_search(kind) == to_search(RUN)
    assert address_of(tmp_path) == "" and to_search(tmp_path) == tmp_path


@pytest.mark.parametrize("place", ["s3://", "s3://../runs", "s3://shelf/../runs", "s3://a b/runs"])
def test_what_is_no_address_is_refused(place):
    with pytest.raises(ConfigError, match="wanted is the address of a folder"):
        to_search(place)


def test_a_run_is_looked_at_and_gone_on_with_from_another_machine(store, tmp_path, monkeypatch):
    first = searched(trials=3)
    assert first.exit_code == 0
    machine(monkeypatch, tmp_path, "there")
    run = open_run(looked_at(RUN))
    assert [t.outcome for t in run.trials] == [t.outcome for t in first.run.trials]
    assert [t.reports() for t in run.trials] == [t.reports() for t in first.run.trials]
    again = searched(trials=5)
    assert len(again.run.trials) == 5
    assert again.run.trials[:3] == [
        type(t)(**{**vars(t), "folder": to_search(RUN) / "trials" / t.info.name})
        for t in first.run.trials
    ]


def test_a_copy_becomes_what_the_bucket_holds(store, tmp_path):
    folder = looked_at(RUN)
    assert not folder.exists()
    shelf, home = Bucket(BUCKET), home_of(folder)
    for name in ("a.txt", "deep/b.txt", ".hidden", "deep/", "x/checkpoints/1/c", "../up", "y/../z"):
        shelf.put(f"runs/a/{name}", b"one")
    looked_at(RUN)
    assert sorted(p.name for p in folder.rglob("[!.]*") if p.is_file()) == ["a.txt", "b.txt"]
    assert not (folder.parent / "up").exists()
    assert (tmp_path / "here" / "s3").stat().st_mode & 0o077 == 0
    (folder / "a.txt").write_text("changed here")
    (folder / "mine.txt").write_text("of nobody")
    shelf.drop(["runs/a/deep/b.txt"])
    looked_at(RUN)
    assert (folder / "a.txt").read_text() == "one"
    assert not (folder / "mine.txt").exists() and not (folder / "deep" / "b.txt").exists()
    store.requests.clear()
    home.pull()
    assert len(store.requests) == 1  # the list; what is the same is not fetched again


def test_an_object_that_is_longer_than_any_of_ours_is_refused_unread(store, monkeypatch, capsys):
    monkeypatch.setattr(bucket_module, "MOST", 2**20)
    shelf = Bucket(BUCKET)
    shelf.put("runs/a/just.txt", b"x" * 2**20)
    looked_at(RUN)
    shelf.put("runs/a/manifest.json", b"x" * (2**20 + 1))
    with pytest.raises(RunError, match=rf"{RUN}/manifest\.json: 1 MiB; read are .* at most 1 MiB"):
        looked_at(RUN)
    assert not (copy_at(RUN, LOOKING) / "manifest.json").exists()
    assert run(["status", RUN]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_run_that_does_not_fit_on_the_disk_is_refused_before_it_is_copied(store, monkeypatch):
    Bucket(BUCKET).put("runs/a/manifest.json", b"x" * 2**20)
    full = shutil.disk_usage("/")._replace(free=2**19)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    store.requests.clear()
    with pytest.raises(EnvironmentFault, match="1 MiB are to be copied here"):
        looked_at(RUN)
    assert len(store.requests) == 1  # the list


def test_a_run_folder_is_made_for_its_user_alone_and_one_that_is_there_is_left(tmp_path):
    fresh, shared = tmp_path / "runs" / "a", tmp_path / "group"
    shared.mkdir()
    shared.chmod(0o770)
    for folder in (fresh, shared):
        run_search(plan(trials=1), folder, trial=TRIAL)
        run_search(plan(trials=2), folder, trial=TRIAL)
    modes = {folder: folder.stat().st_mode & 0o777 for folder in (fresh.parent, fresh, shared)}
    assert modes == {fresh.parent: 0o700, fresh: 0o700, shared: 0o770}


def test_what_is_changed_or_deleted_in_a_copy_is_so_in_the_bucket(store):
    folder = to_search(RUN)
    home = home_of(folder)
    home.pull()
    (folder / "t" / "0").mkdir(parents=True)
    for name in ("a", "t/0/b", "t/0/report.json", ".secret"):
        (folder / name).write_text(name)
    home.push("t/0")
    assert store.contents() == ["runs/a/t/0/b", "runs/a/t/0/report.json"]
    home.push()
    assert store.contents() == ["runs/a/a", "runs/a/t/0/b", "runs/a/t/0/report.json"]
    written = [r for r in store.requests if r.startswith("PUT /shelf/runs/a/t")]
    assert written[-1].endswith("report.json")
    store.requests.clear()
    (folder / "t" / "0" / "b").unlink()
    home.push()
    assert store.contents() == ["runs/a/a", "runs/a/t/0/report.json"]
    assert not [r for r in store.requests if r.startswith("PUT")]


def test_checkpoints_reach_a_trial_that_goes_on_elsewhere(store, tmp_path, monkeypatch):
    config = {"x": 0.5, "snapshots": True, "account": str(tmp_path / "account")}
    order = Order(0, "0000", f"{RUN}/trials/0000", config)
    runner = TrialRunner(TRIAL)
    runner.start(order)
    for _ in range(3):
        assert "report" in runner.next()
    runner.close()
    kept = [key for key in store.contents() if key.endswith("checkpoints/200/report.json")]
    assert kept and not [key for key in store.contents() if "/checkpoints/100/" in key]
    machine(monkeypatch, tmp_path, "there")
    runner.start(order)
    steps = [runner.next()["report"]["step"] for _ in range(2)]
    runner.close()
    assert steps == [300, 400]  # what it said last, and what comes next
    assert ["began", 3] in [[what, made] for _, what, made, _ in lines(tmp_path / "account")]
    hosts = (to_search(order.folder) / "ran_on.jsonl").read_text().splitlines()
    assert len(hosts) == 2
    looked = copy_at(f"{RUN}/trials/0000", LOOKING)
    assert [path.name for path in whole_checkpoints(looked)] == ["400", "300"]


def test_one_search_at_a_time_writes_into_a_run_of_a_bucket(store, tmp_path, monkeypatch):
    held = Ledger(to_search(RUN))
    machine(monkeypatch, tmp_path, "there")
    message = rf"{RUN}: in use by process {os.getpid()} on '{socket.gethostname()}'"
    with pytest.raises(RunError, match=message):
        Ledger(to_search(RUN))
    held.close()
    Ledger(to_search(RUN)).close()


def test_of_many_who_want_a_run_of_a_bucket_at_once_one_gets_it(store):
    slot, got, refused = home_of(to_search(RUN)).slot(), [], []

    def want():
        try:
            got.append(Lease.acquire(slot))
        except RunError as fault:
            refused.append(fault)

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1 and len(refused) == 5
    got[0].release()


def test_who_was_silent_elsewhere_loses_the_run_and_can_write_no_more(store, monkeypatch):
    monkeypatch.setattr(lease_module, "BEAT_S", 3600.0)  # it hangs
    old = Ledger(to_search(RUN))
    key = "runs/a/ledger/lease.json"
    told = json.loads(Bucket(BUCKET).get(key)[0])
    Bucket(BUCKET).put(key, json.dumps({**told, "host": "elsewhere"}).encode())
    slot = home_of(to_search(RUN)).slot()
    taken = Lease.acquire(slot, stale_s=0.3)
    assert taken.fence == told["fence"] + 1
    with pytest.raises(RunError, match=rf"{RUN}: this search was taken over"):
        old.write_manifest({})
    old.close()
    assert slot.read().fence == taken.fence and slot.read().pid == os.getpid()
    taken.release()


def test_a_record_is_written_once_whoever_writes_it(store, tmp_path, monkeypatch):
    summary = searched(trials=1)
    info = summary.run.trials[0].info
    ledger = Ledger(to_search(RUN))
    with pytest.raises(RunError, match=r"0000.asked.json: another search wrote this"):
        ledger.asked(info, 0)
    ledger.close()


def test_an_answer_that_is_lost_costs_nothing(store):
    lost = set()

    def once(request):
        what = f"{request['REQUEST_METHOD']} {request['PATH_INFO']}"
        if what in lost:
            return ""
        lost.add(what)
        return "lost"

    store.fault = once
    assert searched(trials=2).exit_code == 0
    assert len([w for w in lost if w.startswith("PUT")]) > 8
    store.fault = lambda request: ""
    assert [t.outcome.state for t in open_run(looked_at(RUN)).trials] == ["complete"] * 2


def test_a_store_that_minds_no_conditions_is_refused(store):
    store.fault = lambda request: "deaf"
    with pytest.raises(EnvironmentFault, match="overwrites an object although it was told not to"):
        searched()
    assert store.contents() == []


def test_what_a_proof_left_that_was_cut_off_bars_nobody(store):
    store.fault = lambda request: "500" if request["REQUEST_METHOD"] == "POST" else ""
    with pytest.raises(StoreFault, match="InternalError"):
        searched(trials=1)
    assert store.contents()
    store.fault = lambda request: ""
    assert searched(trials=1).exit_code == 0


def test_a_bucket_that_is_not_there_is_named(store):
    with pytest.raises(StoreFault, match=r"^s3://nowhere/runs/a.*NoSuchBucket") as told:
        looked_at("s3://nowhere/runs/a")
    assert told.value.exit_code == 4 and "\n" not in str(told.value)


def test_a_trial_that_cannot_be_kept_once_it_is_over_ends_the_search(store, caplog):
    store.fault = lambda request: (
        "500"
        if request["REQUEST_METHOD"] == "PUT" and "trials/0000/config" in request["PATH_INFO"]
        else ""
    )
    with pytest.raises(StoreFault, match=r"trials/0000/config\.yaml.*InternalError"):
        searched(trials=2)
    assert not caplog.text, "one line, and that is the fault's"
    store.fault = lambda request: ""
    assert searched(trials=2).exit_code == 0
    assert [t.outcome.state for t in open_run(looked_at(RUN)).trials] == ["complete"] * 2


@pytest.mark.parametrize("fate", ["500", "reset"])
def test_a_store_that_fails_ends_a_search_which_then_goes_on_elsewhere(
    store, tmp_path, monkeypatch, fate
):
    tree = {"account": str(tmp_path / "account"), "snapshots": True, "pause": 0.01}
    process = launch(Path(RUN), tree, trials=3)
    wait_until(lambda: len(lines(tmp_path / "account")) >= 6, process)
    store.fault = lambda request: fate
    _, told = process.communicate(timeout=60)
    assert process.returncode == 4, told
    assert len(told.splitlines()) == 1 and RUN in told, told
    store.fault = lambda request: ""
    machine(monkeypatch, tmp_path, "there")
    assert launch(Path(RUN), tree, trials=3).communicate(timeout=60) == ("trials", "")
    run = open_run(looked_at(RUN))
    assert [t.outcome.state for t in run.trials] == ["complete"] * 3
    ended = [x for x, what, made, _ in lines(tmp_path / "account") if what == "well" and made == 4]
    assert len(set(ended)) == 3
