"""Pictures lie where people look for them, whole."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from metasearch.observe.grid import sample_grid
from metasearch.observe.trial_files import TrialFiles
from tests.observe.synthetic_search import report, samples, search_info, trial_info


def watching(folder):
    files = TrialFiles()
    files.opened(search_info(folder), [])
    return files


def test_a_report_with_pictures_becomes_one_file_named_by_its_step(tmp_path):
    trial, files = trial_info(3), watching(tmp_path)
    said = report(trial, 1)
    files.reported(trial, said)
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert made == [tmp_path / "trials" / trial.name / "samples" / f"{said.step}.png"]
    with Image.open(made[0]) as read:
        drawn = np.asarray(read.convert("RGB"))
    np.testing.assert_array_equal(drawn, np.asarray(sample_grid(said.samples)))


def test_a_report_without_pictures_leaves_no_trace(tmp_path):
    trial = trial_info(3)
    watching(tmp_path).reported(trial, report(trial, 2))
    assert not list(tmp_path.iterdir())


def test_pictures_of_the_same_step_replace_the_old_ones(tmp_path):
    trial, files = trial_info(3), watching(tmp_path)
    first = report(trial, 1)
    files.reported(trial, first)
    files.reported(trial, dataclasses.replace(first, samples=samples(1.0, channels=3)))
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    with Image.open(path) as read:
        assert read.mode == "RGB"


def test_files_are_readable_for_others_as_the_umask_says(tmp_path):
    trial = trial_info(3)
    watching(tmp_path).reported(trial, report(trial, 1))
    (picture,) = tmp_path.rglob("*.png")
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert picture.stat().st_mode == plain.stat().st_mode
