from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from metasearch.tasks import Folder, contact_sheet, summary
from metasearch.tasks.base import SPLITS
from tests.tasks.drawings import grouped, write_tree


@pytest.fixture
def folder(tmp_path):
    path = write_tree(tmp_path / "pictures", grouped(6, 4), each=8)
    return Folder(path=str(path), shot=2, query=2, anchor=1, size=24).open()


def test_a_summary_counts_what_the_source_holds(folder):
    told = json.loads(json.dumps(summary(folder)))
    assert told["tasks"] == 24
    assert told["images"] == 192
    assert told["shape"] == [1, 24, 24]
    assert sum(told["splits"][s]["tasks"] for s in SPLITS) == 24
    assert sum(told["splits"][s]["groups"] for s in SPLITS) == 6
    test = told["splits"]["test"]
    assert test["images_per_task"] == {"min": 8, "median": 8.0, "max": 8}
    assert sum(test["tasks_by_group"].values()) == test["tasks"]
    assert told["leaks"]["clean"] is True
    assert told["fingerprint"] == folder.fingerprint
    assert told["augmented"] is False


def test_a_summary_looks_at_no_image(folder):
    summary(folder)
    assert [folder.opened(s) for s in SPLITS] == [0] * 5


def test_a_sheet_shows_the_tasks_of_every_split(folder, tmp_path):
    contact_sheet(folder, tmp_path / "sheet.png", tasks=2, pictures=5)
    assert [folder.opened(s) > 0 for s in SPLITS] == [True] * 5
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image.convert("L"))
    assert (sheet < 80).sum() > 500
    assert (sheet > 240).mean() > 0.5


def test_what_jitter_makes_of_a_task_gets_a_row_of_its_own(glyphs, folder, tmp_path):
    heights = []
    for source in (glyphs, folder):
        contact_sheet(source, tmp_path / "sheet.png", tasks=2, pictures=5)
        with Image.open(tmp_path / "sheet.png") as sheet:
            heights.append(sheet.height)
    assert heights[0] == heights[1] + 10 * 60
    assert summary(glyphs)["augmented"] is True


def test_equal_sources_give_equal_sheets(glyphs, tmp_path):
    for name in ("a.png", "b.png"):
        contact_sheet(glyphs, tmp_path / name, tasks=1, pictures=3)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
