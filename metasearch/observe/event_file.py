"""TensorBoard's event files, written by whoever calls: no thread, no queue, no torch."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as layout_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

Layout = Mapping[str, Mapping[str, tuple[str, list[str]]]]
"""Category -> chart -> ("Margin", [value, low, high]) or ("Multiline", patterns of tags)."""

_count = itertools.count()  # tells files of one process apart


class EventFile:
    """A new event file in the folder of one run; what is written stays in memory until `flush`.

    Differs from torch's `SummaryWriter`: that one has a thread for each run, and hands every number
    over to it alone; here the numbers of a report are one record.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """From `purge_step` on, what earlier files of the run hold is not shown any more."""
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a run's files in the order of their names.
        host, pid, number = socket.gethostname(), os.getpid(), next(_count)
        name = f"events.out.tfevents.{int(time.time()):010d}.{host}.{pid:07d}.{number:06d}"
        self._writer = RecordWriter((folder / name).open("xb", buffering=2**16))
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            log = SessionLog(status=SessionLog.START)
            self._write(Event(step=purge_step, session_log=log))
        self.flush()

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Add one point to the curve of each tag."""
        shown = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self.add(Summary(value=shown), step)

    def text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Show a text."""
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[markdown.encode()], tensor_shape=shape)
        kind = text_metadata.create_summary_metadata("", "")
        value = Summary.Value(tag=f"{tag}/text_summary", metadata=kind, tensor=tensor)
        self.add(Summary(value=[value]), step)

    def layout(self, layout: Layout) -> None:
        """Say which curves are drawn together, under Custom Scalars."""
        made = layout_pb2.Layout(category=[
            layout_pb2.Category(title=title, chart=[_chart(name, *c) for name, c in charts.items()])
            for title, charts in layout.items()
        ])  # fmt: skip
        scalar = TensorShapeProto()
        content = [made.SerializeToString()]
        tensor = TensorProto(dtype="DT_STRING", string_val=content, tensor_shape=scalar)
        kind = layout_metadata.create_summary_metadata()
        tag = layout_metadata.CONFIG_SUMMARY_TAG
        self.add(Summary(value=[Summary.Value(tag=tag, metadata=kind, tensor=tensor)]))

    def add(self, summary: Summary, step: int = 0) -> None:
        """Write any summary."""
        self._write(Event(step=step, summary=summary))

    def flush(self) -> None:
        """Let viewers see what was written."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())


def _chart(name: str, kind: str, tags: list[str]) -> layout_pb2.Chart:
    if kind == "Multiline":
        content = layout_pb2.MultilineChartContent(tag=tags)
        return layout_pb2.Chart(title=name, multiline=content)
    value, low, high = tags
    band = layout_pb2.MarginChartContent.Series(value=value, lower=low, upper=high)
    return layout_pb2.Chart(title=name, margin=layout_pb2.MarginChartContent(series=[band]))
