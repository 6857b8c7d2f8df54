"""A run folder that was harmed is found out, and mended from what is whole."""

from __future__ import annotations

import re
import shutil

import pytest

from metasearch.errors import RunError
from metasearch.search.doctor import examine_run, mend_run
from metasearch.search.journal import ends_in
from metasearch.search.ledger import Ledger, open_run
from tests.small import blobs_file, searched, trial


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("doctor")
    tree = trial(blobs_file(place / "b.npz"), outer={"lr": {"uniform": [0.005, 0.02]}})
    return searched(place / "run", tree, trials=3).folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def tear(file, keep=0.6):
    text = file.read_bytes()
    file.write_bytes(text[: int(len(text) * keep)])


def test_a_whole_folder_has_no_wounds_and_looking_changes_nothing(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert examine_run(folder) == []
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("harm", ["torn", "gone", "garbage", "zombie", "another score"])
def test_a_journal_is_rebuilt_from_the_ledger(folder, harm):
    journal = folder / "study.journal"
    lines = journal.read_text().splitlines(keepends=True)
    if harm == "gone":
        journal.unlink()
    else:
        journal.write_text({
            "torn": "".join(lines[:6]) + '{"op_code": 4, "to',
            "garbage": "not a journal\n",
            "zombie": "".join(lines[:-1]),  # the last trial was never told
            "another score": "".join([*lines[:-1], re.sub(r'"values":\[', '"values":[1', lines[-1])]),
        }[harm])  # fmt: skip
    (wound,) = examine_run(folder)
    assert wound.what == "study.journal"
    assert mend_run(folder) == [] == examine_run(folder)
    assert ends_in(journal) == [(t.outcome.state, t.outcome.score) for t in open_run(folder).trials]


def test_a_torn_record_of_an_end_opens_its_trial_again_and_hides_nothing(folder):
    before = open_run(folder).trials
    tear(folder / "ledger/0001.done.json")
    (wound,) = examine_run(folder)
    assert (wound.what, wound.found) == ("ledger/0001.done.json", "unreadable")
    assert mend_run(folder) == []
    after = open_run(folder)
    assert [t.outcome is None for t in after.trials] == [False, True, False]
    assert (after.trials[0], after.trials[2]) == (before[0], before[2])
    assert (folder / "ledger/0001.done.json.damaged").exists()


@pytest.mark.parametrize("end", ["{}", '{"outcome": {"state": "won"}}'])
def test_a_record_of_an_end_that_is_none_is_like_a_torn_one(folder, end):
    (folder / "ledger/0001.done.json").write_text(end)
    (wound,) = examine_run(folder)
    assert (wound.what, wound.found) == ("ledger/0001.done.json", "unreadable")
    assert mend_run(folder) == []
    assert [t.outcome is None for t in open_run(folder).trials] == [False, True, False]


def test_a_line_that_is_no_report_is_cut_and_missing_reports_are_told(folder):
    file = open_run(folder).trials[0].folder / "reports.jsonl"
    first, second = file.read_text().splitlines()
    file.write_text(f'{first}\n{{"step": "much"}}\n{second}\n')
    (wound,) = examine_run(folder)
    assert wound.found == "torn lines inside"
    assert mend_run(folder) == [] and file.read_text() == f"{first}\n{second}\n"
    file.write_text(f"{first}\n")
    shutil.rmtree(open_run(folder).trials[1].folder)
    found = [(w.what, w.found) for w in mend_run(folder)]
    names = [t.folder.name for t in open_run(folder).trials]
    assert found == [
        (f"trials/{names[0]}/reports.jsonl", "1 of 2 reports are missing"),
        (f"trials/{names[1]}/reports.jsonl", "2 of 2 reports are missing"),
    ]


def test_a_folder_in_the_place_of_a_record_and_a_torn_manifest_are_named(folder):
    (folder / "ledger/0009.done.json").mkdir()
    tear(folder / "manifest.json")
    assert {(w.what, w.found) for w in examine_run(folder)} >= {
        ("ledger/0009.done.json", "no file"), ("manifest.json", "unreadable")}  # fmt: skip


def test_lines_of_a_curve_that_are_whole_are_kept(folder):
    file = open_run(folder).trials[0].folder / "reports.jsonl"
    first, second = file.read_text().splitlines()
    file.write_text(f"{first[:20]}\n{second}\n")
    (wound,) = examine_run(folder)
    assert wound.what.endswith("reports.jsonl")
    (lost,) = mend_run(folder)
    assert lost.found == "1 of 2 reports are missing" and file.read_text() == f"{second}\n"


def test_what_nothing_else_has_is_told_and_left_alone(folder):
    tear(folder / "ledger/0001.asked.json")
    (wound,) = mend_run(folder)
    assert wound.what == "ledger/0001.asked.json" and "copy" in wound.advice
    (folder / "search.yaml").write_text("trial: {}")
    assert {w.what for w in mend_run(folder)} == {"ledger/0001.asked.json", "search.yaml"}


def test_a_search_that_runs_is_not_mended(folder):
    ledger = Ledger(folder)
    with pytest.raises(RunError, match="in use"):
        mend_run(folder)
    ledger.close()
