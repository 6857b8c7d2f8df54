"""A run, looked at from Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

import metasearch
from metasearch.errors import RunError
from metasearch.observe.trial_files import TrialFiles
from metasearch.search.run import run_search
from tests.search.plans import plan
from tests.search.planted import TRIAL

PUBLIC = {
    *("Bundle", "Plan", "Result", "Search", "Trial"),
    *("component", "load", "load_bundle", "open", "register"),
    "__version__",
}


def test_the_public_names_are_these_and_all_are_there():
    assert set(metasearch.__all__) == PUBLIC == set(dir(metasearch))
    for name in PUBLIC - {"__version__"}:
        assert getattr(metasearch, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = metasearch.lod


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "runs" / "planted"
    ends = {"choice": [{"name": "well"}, {"name": "raise"}]}
    run_search(plan({"end": ends, "pictures": True}, trials=6), place, [TrialFiles()], trial=TRIAL)
    return place


def test_a_run_is_opened_by_its_folder_or_its_name_wherever_it_was_moved(folder, monkeypatch):
    monkeypatch.setenv("METASEARCH_HOME", str(folder.parent))
    assert metasearch.open("planted").name == "planted"
    shutil.move(folder, folder.with_name("moved"))
    assert len(metasearch.open(folder.with_name("moved")).trials) == 6
    with pytest.raises(RunError, match="no run is called so"):
        metasearch.open("planted")


def test_the_best_and_all_trials_are_what_the_ledger_says(folder):
    found = metasearch.open(folder)
    assert (found.state, found.interrupted) == ("finished", False)
    finished = [t for t in found.trials if t.state == "complete"]
    assert found.best.score == min(t.score for t in finished)
    best = found.best
    assert best.ci95 == (pytest.approx(best.score - 0.1), pytest.approx(best.score + 0.1))
    assert best.curve()[-1][1] == best.score
    assert best.samples().suffix == ".png"
    assert set(best.params) == {"x", "end"}
    failed = next(t for t in found.trials if t.state == "failed")
    assert "planted fault" in failed.error and failed.ci95 is None
    assert found.refresh().best.number == best.number


def test_a_table_has_a_row_per_trial_and_a_column_per_draw(folder):
    pytest.importorskip("pandas")
    found = metasearch.open(folder)
    frame = found.to_pandas()
    assert len(frame) == 6
    assert {"name", "state", "score", "low", "high", "x", "end"} <= set(frame.columns)
    assert frame["score"][found.best.number] == found.best.score
    assert list(frame["x"]) == [t.params["x"] for t in found.trials]


def test_a_notebook_shows_runs_plots_and_pictures(folder):
    found = metasearch.open(folder)
    shown = found._repr_html_()
    assert shown.count("<tr>") == 1 + sum(t.state == "complete" for t in found.trials)
    assert "<svg" in found.plot.history()._repr_html_()
    trial = found.best._repr_html_()
    assert all(path in trial for path in found.best.params)
    assert ("data:image/png" in trial) == (found.best.samples() is not None)
    assert "history" in dir(found.plot)
    with pytest.raises(AttributeError, match="there are"):
        _ = found.plot.histroy
    assert "<table" in found.gallery()._repr_html_()
    assert found.best.name in repr(found)


def test_names_of_others_cannot_break_a_notebook(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["search"]["name"] = "<script>"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "<script>" not in metasearch.open(folder)._repr_html_()


def test_looking_at_a_run_loads_neither_torch_nor_ray_nor_optuna(folder):
    code = (
        "import sys, metasearch\n"
        f"found = metasearch.open({str(folder)!r})\n"
        "found._repr_html_(); found.plot.history(); found.best\n"
        "print(sorted({'torch', 'ray', 'optuna', 'tensorboard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
