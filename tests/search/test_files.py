"""Whole or not at all."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest

from metasearch.errors import RunError
from metasearch.search.files import append_line, read_json, read_lines, to_json, write_atomically


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "a.json"
    for text in ("one", "two"):
        write_atomically(file, text)
        assert file.read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_atomically(file, "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new")
    assert file.read_text() == "old"


def test_what_is_written_is_standard_json(tmp_path):
    data = {"nan": math.nan, "deep": [{"inf": -math.inf}], "x": np.float32(0.5), "n": np.int64(3)}
    text = to_json({**data, "yes": True, "none": None, 5: "five"})
    strict = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert strict == {
        "nan": None, "deep": [{"inf": None}], "x": 0.5, "n": 3, "yes": True, "none": None, "5": "five",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "says"), [("{", "not JSON"), ("[1]", "expected a mapping")])
def test_a_damaged_file_is_named(tmp_path, text, says):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RunError, match=rf"x\.json: {says}"):
        read_json(tmp_path / "x.json")


def test_a_file_that_is_not_there_reads_as_nothing(tmp_path):
    assert read_json(tmp_path / "x.json") is None
    assert list(read_lines(tmp_path / "x.jsonl")) == []


@pytest.mark.parametrize("torn", ["", '{"n": 3', "\x00\x00"])
def test_a_torn_last_line_is_neither_read_nor_continued(tmp_path, torn):
    file = tmp_path / "x.jsonl"
    for n in (1, 2):
        append_line(file, json.dumps({"n": n}))
    with file.open("a") as open_file:
        open_file.write(torn)
    assert [line["n"] for line in read_lines(file)] == [1, 2]
    append_line(file, json.dumps({"n": 4}))
    assert [line["n"] for line in read_lines(file)] == [1, 2, 4]


def test_a_file_that_is_nothing_but_torn_starts_anew(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text("torn")
    append_line(file, "{}")
    assert file.read_text() == "{}\n"
