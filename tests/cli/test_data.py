"""Preparing a search from the command line."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metasearch.cli.data import _rooms
from metasearch.cli.machine import Finding
from tests.small import blobs_file, searched, trial


def test_every_member_of_every_room_is_listed_with_its_settings(cli):
    told = cli("components", "--json").json
    assert set(told) == set(_rooms())
    for room, table in _rooms().items():
        assert set(told[room]) == set(table)
        for member in told[room].values():
            assert member["what"][-1] in ".?"
            for setting in member["settings"]:
                assert set(setting) == {"name", "allowed", "required", "default", "meaning"}
    text = cli("components").out
    assert all(f"{room}: {name}" in text for room in told for name in told[room])


def test_one_room_or_one_member_is_listed(cli):
    assert set(cli("components", "models", "--json").json) == {"models"}
    assert set(cli("components", "random", "--json").json) == {"selectors", "samplers"}
    told = cli("components", "tpe").out
    assert "startup_trials" in told
    assert "# spread evenly before the estimate is trusted" in told


def test_an_unknown_member_is_refused_with_the_nearest(cli):
    told = cli("components", "reptil")
    assert told.code == 2
    assert "Did you mean 'reptile'?" in told.err


@pytest.fixture
def images(place):
    """Ten classes of twenty noisy pictures."""
    rng = np.random.default_rng(0)
    for k in range(10):
        folder = place / "pictures" / f"class{k}"
        folder.mkdir(parents=True)
        base = rng.integers(0, 256, (12, 12))
        for i in range(20):
            noisy = np.clip(base + rng.integers(-20, 20, (12, 12)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{i}.png")
    return place / "pictures"


def test_a_data_source_is_told_with_its_splits_and_a_sheet(cli, images, place):
    told = cli("tasks", images, "-o", place / "new" / "sheet.png")
    assert told.code == 0
    assert "10 tasks, 200 images" in told.out
    assert "sheet.png" in told.err
    with Image.open(place / "new" / "sheet.png") as sheet:
        assert sheet.format == "PNG"
    data = cli("tasks", images, "--json").json
    assert data["tasks"] == 10
    assert set(data) == {
        *("tasks", "images", "shape", "domains", "augmented", "splits", "leaks"),
        *("fingerprint", "notes", "sheet", "explained", "search_file"),
    }


def test_what_was_left_out_is_told_in_plain_words_and_a_file_begun(cli, images, place):
    for i in range(4, 20):
        (images / "class0" / f"{i}.png").unlink()
    (images / "class1" / "bad.png").write_bytes(b"")
    (images / "class2" / "twice.png").write_bytes((images / "class2" / "0.png").read_bytes())
    (images / "class3" / "notes.txt").write_text("mine")
    told = cli("tasks", images, "--init", "mine.yaml", "--json").json
    said = "\n".join(told["explained"])
    for part in (
        *("9 classes, each a task", "shows 5 images, asks for 10 others", "1 images that a class"),
        *("1 of 186 files, which cannot be read (class1/bad.png", "1 classes (class0)"),
        "1 not images",
    ):
        assert part in said
    assert told["search_file"] == "mine.yaml"
    assert "path: " in (place / "mine.yaml").read_text()


def test_a_missing_data_source_ends_with_2(cli):
    told = cli("tasks", "nowhere")
    assert told.code == 2
    assert "no such file exists" in told.err


def test_the_doctor_finds_this_machine_fit(cli):
    told = cli("doctor", "--json")
    assert told.code == 0
    assert {f["verdict"] for f in told.json} <= {"ok", "warn"}
    assert {"Python", "torch", "runs"} <= {f["what"] for f in told.json}
    assert cli("doctor").out.startswith("ok ")


def test_what_is_unfit_ends_with_4_and_says_what_to_do(cli, monkeypatch):
    findings = [Finding("Python", "ok", "3.11"), Finding("disk", "fail", "full", "Empty it.")]
    monkeypatch.setattr("metasearch.cli.machine.examine", lambda _: findings)
    told = cli("doctor")
    assert told.code == 4
    assert "fail  disk: full\n      Empty it." in told.out
    assert "not fit to run searches: disk" in told.err


def test_a_home_that_cannot_be_written_is_unfit(cli, place, monkeypatch):
    (place / "file").write_text("")
    monkeypatch.setenv("METASEARCH_HOME", str(place / "file" / "runs"))
    told = cli("doctor")
    assert told.code == 4
    assert "METASEARCH_HOME" in told.out


def test_a_missing_package_for_searching_is_a_warning(cli, monkeypatch):
    monkeypatch.setattr("metasearch.cli.machine._FOR_SEARCHING", ("no-such-package",))
    told = cli("doctor")
    assert told.code == 0
    assert "warn  no-such-package: missing" in told.out
    assert "pip install 'metasearch[search]'" in told.out


def test_the_doctor_looks_into_a_run_and_mends_it(cli, place):
    tree = trial(blobs_file(place / "b.npz"), outer={"lr": {"uniform": [0.005, 0.02]}})
    folder = searched(place / "runs" / "small", tree, trials=1).folder
    assert "is whole" in cli("doctor", "small").out
    (folder / "study.journal").write_text("torn")
    found = cli("doctor", "small")
    assert found.code == 2 and "study.journal: unreadable" in found.out
    assert "Mend it with --mend" in found.out and "small is damaged: study.journal" in found.err
    assert cli("doctor", "small", "--mend").code == 0
    assert cli("doctor", "small", "--json").json[0]["verdict"] == "ok"


def test_a_trial_is_run_again_and_compared(cli, place):
    tree = trial(blobs_file(place / "b.npz"), outer={"lr": {"uniform": [0.005, 0.02]}})
    folder = searched(place / "runs" / "small", tree, trials=1).folder
    told = cli("reproduce", "small", 0)
    assert told.code == 0 and "the same to the last digit" in told.out
    file = next(folder.glob("trials/*/reports.jsonl"))
    file.write_text(file.read_text().replace('"gradients":', '"gradients":1', 1))
    told = cli("reproduce", "small", 0, "--json")
    assert told.code == 1 and told.json["same"] is False
    assert [report["same"] for report in told.json["reports"]] == [False, True]
