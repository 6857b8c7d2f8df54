from __future__ import annotations

import numpy as np
import pytest

from metasearch.folders import cache_folder
from metasearch.tasks.cache import cached, key_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("METASEARCH_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"


class Maker:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"a": np.arange(5), "b": np.ones((2, 3), np.uint8)}


def test_what_was_made_once_is_read_the_next_time(folder):
    make = Maker()
    first, second = cached("kind", "key", make), cached("kind", "key", make)
    assert make.calls == 1
    for name in ("a", "b"):
        np.testing.assert_array_equal(first[name], second[name])


def test_a_damaged_file_is_made_anew(folder):
    make = Maker()
    cached("kind", "key", make)
    (path,) = folder.glob("*.npz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    np.testing.assert_array_equal(cached("kind", "key", make)["a"], np.arange(5))
    assert make.calls == 2
    cached("kind", "key", make)
    assert make.calls == 2


def test_a_file_cut_short_is_made_anew(folder):
    make = Maker()
    cached("kind", "key", make)
    (path,) = folder.glob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    cached("kind", "key", make)
    assert make.calls == 2


def test_nothing_but_whole_files_is_left_behind(folder):
    cached("kind", "key", Maker())
    assert [p.suffix for p in folder.iterdir()] == [".npz"]


def test_it_works_where_nothing_can_be_written(tmp_path, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    monkeypatch.setenv("METASEARCH_CACHE", str(blocker / "below"))
    make = Maker()
    np.testing.assert_array_equal(cached("kind", "key", make)["a"], np.arange(5))
    cached("kind", "key", make)
    assert make.calls == 2


def test_pickles_are_not_opened(folder):
    import hashlib
    import io

    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([object()], dtype=object))
    folder.mkdir()
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    (folder / f"kind-key.{digest}.npz").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(cached("kind", "key", Maker())["a"], np.arange(5))


def test_another_key_or_kind_is_another_entry(folder):
    make = Maker()
    cached("kind", "key", make)
    cached("kind", "other", make)
    cached("other", "key", make)
    assert make.calls == 3
    assert key_of([1, "a"]) == key_of([1, "a"]) != key_of([1, "b"])


def test_the_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("METASEARCH_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert str(cache_folder()) == "/own"
    monkeypatch.delenv("METASEARCH_CACHE")
    assert str(cache_folder()) == "/xdg/metasearch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(cache_folder()) == "/home/someone/.cache/metasearch"
