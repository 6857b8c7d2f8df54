"""A few damaged inputs of each kind; `make fuzz` tries thousands."""

from __future__ import annotations

import os

import pytest

from metasearch.rng import Stream
from tests.fuzz.herd import summary, sweep
from tests.fuzz.mutate import as_bytes
from tests.fuzz.watch import Watch

SAMPLE = 50
ALL = 5000


def test_damaged_inputs_end_in_words(tmp_path):
    ended = sweep(tmp_path, 0, range(SAMPLE), 1)
    assert len(ended) == SAMPLE
    assert not [one for one in ended if _wrong(one)], summary(ended)
    assert sum(one["code"] == 2 for one in ended) > SAMPLE / 3, "most damage is damage"


def _wrong(one: dict) -> list[str]:
    """How long it took depends on what else the machine does; `make fuzz` looks at that."""
    return [fault for fault in one["wrong"] if not fault.startswith("took ")]


@pytest.mark.slow
def test_thousands_of_damaged_inputs_end_in_words(tmp_path):
    first, count = (
        int(os.environ.get(f"FUZZ_{name}", known)) for name, known in (("FIRST", 0), ("COUNT", ALL))
    )
    ended = sweep(tmp_path, 0, range(first, first + count), 1)
    print(summary(ended))  # noqa: T201
    assert not [one for one in ended if _wrong(one)]


def test_the_watch_sees_what_is_run_and_what_is_written_outside(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    watch = Watch(inside)
    watch.on = True
    (inside / "here").write_text("allowed")
    os.system("true")
    (tmp_path / "there").write_text("not allowed")
    (tmp_path / "folder").mkdir()
    watch.on = False
    assert [event.split()[0] for event in watch.seen] == ["os.system", "open", "os.mkdir"]


def test_the_same_number_damages_alike():
    sound = b"some bytes that are long enough"
    for i in range(30):
        first, second = (as_bytes(sound, Stream(3).at(i).numpy()) for _ in range(2))
        assert first == second
