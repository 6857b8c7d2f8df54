"""Event files, read back through TensorBoard's own code and beside torch's."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metasearch.observe.event_file import EventFile

LAYOUT = {
    "Scores": {
        "band": ("Margin", ["score", "low", "high"]),
        "both": ("Multiline", ["^score$", "^before$"]),
    }
}


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def points(events):
    return [dataclasses.replace(event, wall_time=0.0) for event in events]


def by_torch(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard import SummaryWriter
    with SummaryWriter(str(folder)) as writer:
        for step, value in enumerate((1.0, 2.0)):
            writer.add_scalar("score", value, step)
            writer.add_scalar("before", -value, step)
        writer.add_text("note", "*hello*", 3)
        writer.add_custom_scalars(LAYOUT)


def test_what_torch_would_write_is_written(tmp_path):
    file = EventFile(tmp_path / "ours")
    for step, value in enumerate((1.0, 2.0)):
        file.numbers({"score": value, "before": -value}, step)
    file.text("note", "*hello*", 3)
    file.layout(LAYOUT)
    file.close()
    by_torch(tmp_path / "torch")
    ours, theirs = read(tmp_path / "ours"), read(tmp_path / "torch")
    assert ours.Tags() == theirs.Tags()
    for tag in ("score", "before"):
        assert points(ours.Scalars(tag)) == points(theirs.Scalars(tag))
    for tag in ("note/text_summary", "custom_scalars__config__"):
        assert points(ours.Tensors(tag)) == points(theirs.Tensors(tag))
        assert ours.SummaryMetadata(tag) == theirs.SummaryMetadata(tag)


def test_what_is_flushed_can_be_read_while_the_file_is_open(tmp_path):
    file = EventFile(tmp_path)
    file.numbers({"score": 1.0}, 1)
    file.flush()
    assert [e.value for e in read(tmp_path).Scalars("score")] == [1.0]
    file.close()


@pytest.mark.parametrize("files", [2, 12])
def test_files_opened_one_after_another_are_read_in_that_order(tmp_path, files):
    for number in range(files):
        file = EventFile(tmp_path, purge_step=0)
        file.numbers({"score": float(number)}, 1)
        file.close()
    assert [e.value for e in read(tmp_path).Scalars("score")] == [files - 1.0]
