"""Exports killed wherever a file appears: the same command then packs the same bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metasearch.bundle.load import load_bundle
from tests.chaos.lives import Nursery, nursery
from tests.chaos.wire import tearable
from tests.small import blobs_file, searched, trial

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cradle(tmp_path_factory) -> Iterator[Nursery]:
    place = tmp_path_factory.mktemp("nursery")
    with nursery(place, "metasearch.search.export", "metasearch.models") as found:
        yield found


def _export(cradle: Nursery, place: Path, **more: Any) -> bool:
    """Whether the export was cut short."""
    folder, bundle = place / "run", place / "bundle"
    order = {"folder": str(folder), "bundle": str(bundle), "root": str(place), **more}
    ended = cradle.live(**order)
    assert ended.killed or ended.code == 0, ended
    return ended.killed


def _found(place: Path) -> dict[str, Any]:
    report = json.loads((place / "bundle" / "report.json").read_text())
    load_bundle(place / "bundle")
    return {key: report[key] for key in ("splits", "baselines", "trial", "ranking")}


def test_an_export_that_was_killed_where_a_file_appears_is_repeated(cradle, tmp_path):
    whole = tmp_path / "whole"
    run = searched(whole / "run", trial(blobs_file(tmp_path / "blobs.npz")), trials=2).folder
    shutil.copytree(run, tmp_path / "sound")
    passed = tmp_path / "passed"
    assert not _export(cradle, whole, passed=str(passed))
    places = [*json.loads(passed.read_text())]
    # Whole files appear by renaming; between two of those nothing that counts changes.
    renames = [place for place in places if place.startswith("rename ")]
    deadly = [*renames, *(f"torn {place}" for place in places if tearable(place))]
    for i, place in enumerate(deadly):
        cut = tmp_path / str(i)
        shutil.copytree(tmp_path / "sound", cut / "run")
        assert _export(cradle, cut, deadly=place), f"nothing dies at: {place}"
        assert not _export(cradle, cut), place
        assert _found(cut) == _found(whole), place
        opened = json.loads((cut / "run" / "test_opened.json").read_text())["openings"]
        assert len(opened) <= 2 and len({entry["trial"] for entry in opened}) == 1, place
    print(f"{len(deadly)} kills of an export: the same command packs the same bundle")  # noqa: T201
