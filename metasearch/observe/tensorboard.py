"""TensorBoard: one run per trial, `_search` above them, and a table of settings that is right.

The table (its tab is called HParams) takes its columns from one place, so the whole space is
declared once, in `_search`; a trial says only what it got and how it ended.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import struct_pb2
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from metasearch.drawing.raster import to_image
from metasearch.errors import EnvironmentFault
from metasearch.observe.base import Outcome, SearchInfo, State, TrialInfo
from metasearch.observe.columns import Cell, Column, cells, columns
from metasearch.observe.event_file import EventFile, Layout
from metasearch.observe.grid import sample_grid, to_png
from metasearch.observe.leaderboard import leaderboard, score_title
from metasearch.observe.selection import selections
from metasearch.observe.standing import Standing
from metasearch.observe.text import flat, markdown_table
from metasearch.trial.report import Report

if TYPE_CHECKING:
    from PIL import Image

SEARCH_RUN = "_search"
# Time Series lists groups by name and unfolds the first two: `samples` and `score` come before
# `search`, and all that does not judge unseen tasks goes below `training`.
_TRAINING = "training"
_ENDED = f"{_TRAINING}/ended"
_CODES: Mapping[State, int] = {"complete": 0, "pruned": 1, "failed": 2}
_LAYOUT: Layout = {
    "Unseen tasks": {
        "score with its 95 % interval": ("Margin", ["score/unseen", "score/low", "score/high"])
    },
    "Search": {"best so far": ("Margin", ["search/best", "search/best_low", "search/best_high"])},
    "Adaptation": {"after and before": ("Multiline", ["^score/unseen$", "^score/before$"])},
    "Training": {
        "losses": ("Multiline", [f"^{_TRAINING}/loss/"]),
        "seconds": ("Multiline", [f"^{_TRAINING}/cost/seconds$"]),
    },
}


class TensorBoard:
    """Writes a search as TensorBoard event files below ``<search>/tensorboard``.

    The horizontal axis is `Report.step` in a trial's run, and the number of ended trials in
    `_search`. What is reported again after an interruption replaces what stood there.
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._columns: list[Column] = []
        self._writers: dict[str, EventFile] = {}
        self._told: dict[str, dict[int, Mapping[str, float]]] = {}

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """Declare the space; write `_search` anew, as after each of `past`."""
        self._folder = search.folder / "tensorboard"
        self._search = search
        self._columns = columns(search.draws)
        self._standing = Standing(search.direction)
        writer = self._open(SEARCH_RUN, purge_step=0)
        writer.add(_experiment(search, self._columns))
        writer.layout(_LAYOUT)
        for trial, outcome in past:
            self._count(trial, outcome)
            if not (self._folder / trial.name).exists():
                self._end_run(trial, outcome)
        writer.flush()

    def started(self, trial: TrialInfo) -> None:
        """Begin a run; one that was begun before goes on at its next report."""
        self._close(trial.name)
        if not (self._folder / trial.name).exists():
            self._run(trial).flush()

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """Write the numbers of one evaluation, and its pictures."""
        writer = self._run(trial, purge_step=report.step)
        writer.numbers(_scalars(report), report.step)
        if report.samples is not None:
            sheet = sample_grid(report.samples)
            writer.add(_picture("samples/unseen", sheet), report.step)
        told = self._told.setdefault(trial.name, {})
        told[report.step] = report.scalars
        for axis, drawn in selections(told).items():
            tag = f"strategy/{axis}"
            writer.add(_picture(tag, to_image(drawn.with_title())), report.step)
        writer.flush()

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Close the trial's run and bring `_search` up to date."""
        self._end_run(trial, outcome)
        self._count(trial, outcome)
        self._writers[SEARCH_RUN].flush()

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001, ARG002 - a plain event
        """Close all files; runs without an end show as unknown until they are continued."""
        for run in list(self._writers):
            self._close(run)

    def _run(self, trial: TrialInfo, purge_step: int | None = None) -> EventFile:
        """The writer of a trial, which says first what the trial got."""
        if trial.name in self._writers:
            return self._writers[trial.name]
        fresh = not (self._folder / trial.name).exists()
        writer = self._open(trial.name, purge_step)
        row = cells(self._columns, trial.params)
        writer.add(_session_start(trial.name, row))
        if fresh:
            settings = [(f"`{path}`", f"`{value}`") for path, value in flat(trial.config)]
            writer.text("trial/config", markdown_table(["setting", "value"], settings))
        return writer

    def _open(self, run: str, purge_step: int | None) -> EventFile:
        """A new writer, which hides what the run already holds from `purge_step` on."""
        folder = self._folder / run
        again = purge_step if folder.exists() else None
        self._writers[run] = EventFile(folder, purge_step=again)
        return self._writers[run]

    def _close(self, run: str) -> None:
        if run in self._writers:
            self._writers.pop(run).close()

    def _end_run(self, trial: TrialInfo, outcome: Outcome) -> None:
        self._told.pop(trial.name, None)
        writer = self._run(trial)
        if outcome.error:
            text = f"**{outcome.reason}**\n\n```\n{outcome.error}\n```"
            writer.text("trial/error", text, outcome.step)
        writer.numbers({_ENDED: _CODES[outcome.state]}, outcome.step)
        writer.add(_session_end(outcome.state))
        self._close(trial.name)

    def _count(self, trial: TrialInfo, outcome: Outcome) -> None:
        standing = self._standing
        standing.add(trial, outcome)
        writer, n = self._writers[SEARCH_RUN], len(standing)
        told: dict[str, float | None] = {
            "ended": n,
            "pruned": standing.count("pruned"),
            "failed": standing.count("failed"),
        }
        if standing.leaders:
            best = standing.leaders[0][1]
            told |= {"best": best.score, "best_low": best.low, "best_high": best.high}
        numbers = {f"search/{k}": math.nan if v is None else v for k, v in told.items()}
        writer.numbers(numbers, n)
        table = leaderboard(self._search, self._columns, standing.leaders)
        writer.text("leaderboard", table, n)


def deep_link(port: int, host: str = "127.0.0.1") -> str:
    """The address that opens with the score on top, and unsmoothed: there are few points."""
    pinned = json.dumps([{"plugin": "scalars", "tag": "score/unseen"}], separators=(",", ":"))
    query = urllib.parse.urlencode({"pinnedCards": pinned, "smoothing": 0})
    return f"http://{host}:{port}/?{query}#timeseries"


def serve(folder: Path, port: int, host: str = "127.0.0.1") -> None:
    """Start the viewer on `folder` in the background; it ends with this process. Prints nothing.

    Raises:
        EnvironmentFault: the port is taken, or the viewer does not start.
    """
    from tensorboard import program  # a web server, which writing does not need

    viewer = program.TensorBoard()
    flags = {"logdir": folder, "port": port, "host": host, "window_title": "metasearch"}
    more = ["--samples_per_plugin=images=50", "--reload_interval=10"]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            viewer.configure(("tensorboard", *(f"--{k}={v}" for k, v in flags.items()), *more))
            viewer.launch()
        except (program.TensorBoardServerException, SystemExit) as error:
            reason = getattr(error, "msg", "") or said.getvalue().strip() or str(error)
            raise EnvironmentFault(
                f"TensorBoard did not start on {host}:{port}: {reason} "
                "A free port and a readable folder are needed; try another --port."
            ) from error


def _experiment(search: SearchInfo, columns: Sequence[Column]) -> Summary:
    metrics = {
        "score/unseen": (score_title(search), f"{search.unit}, on unseen tasks, last report"),
        "score/low": ("low", "lower end of the 95 % interval"),
        "score/high": ("high", "upper end of the 95 % interval"),
        "score/before": ("before adapting", "the same score without adaptation"),
        _ENDED: ("0 done 1 pruned 2 failed", "how the trial ended; empty while it runs"),
        f"{_TRAINING}/cost/gradients": ("gradients", "gradient evaluations spent"),
    }
    infos = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=tag), display_name=title, description=description
        )
        for tag, (title, description) in metrics.items()
    ]
    experiment = api_pb2.Experiment(
        name=search.name,
        time_created_secs=time.time(),
        hparam_infos=[_hparam_info(column) for column in columns],
        metric_infos=infos,
    )
    return _hparams_summary(metadata.EXPERIMENT_TAG, experiment=experiment)


def _hparam_info(column: Column) -> api_pb2.HParamInfo:
    info = api_pb2.HParamInfo(name=column.name, description=column.note, differs=column.first)
    if not column.options:
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value = column.low
        info.domain_interval.max_value = column.high
        return info
    kinds: dict[type, int] = {
        bool: api_pb2.DATA_TYPE_BOOL,
        float: api_pb2.DATA_TYPE_FLOAT64,
        str: api_pb2.DATA_TYPE_STRING,
    }
    info.type = kinds[type(column.options[0])]
    info.domain_discrete.extend(column.options)
    return info


def _session_start(run: str, row: Mapping[str, Cell]) -> Summary:
    start = plugin_data_pb2.SessionStartInfo(group_name=run, start_time_secs=time.time())
    for name, cell in row.items():
        start.hparams[name].CopyFrom(_value(cell))
    return _hparams_summary(metadata.SESSION_START_INFO_TAG, session_start_info=start)


def _session_end(state: State) -> Summary:
    status = api_pb2.STATUS_FAILURE if state == "failed" else api_pb2.STATUS_SUCCESS
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams_summary(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _value(cell: Cell) -> struct_pb2.Value:
    if isinstance(cell, bool):  # before numbers, for a bool is one
        return struct_pb2.Value(bool_value=cell)
    if isinstance(cell, str):
        return struct_pb2.Value(string_value=cell)
    return struct_pb2.Value(number_value=cell)


def _scalars(report: Report) -> dict[str, float]:
    costs = {f"cost/{name}": value for name, value in vars(report.cost).items()}
    more = {**report.scalars, **costs}
    return {
        **{tag if tag.startswith("score/") else f"{_TRAINING}/{tag}": v for tag, v in more.items()},
        "score/unseen": report.score,
        "score/low": report.low,
        "score/high": report.high,
        "score/before": report.before,
    }


def _picture(tag: str, sheet: Image.Image) -> Summary:
    image = Summary.Image(
        height=sheet.height, width=sheet.width, colorspace=3, encoded_image_string=to_png(sheet)
    )
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _hparams_summary(tag: str, **content: Any) -> Summary:
    # tensorboard.plugins.hparams.summary would do this, but it imports TensorFlow.
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString()
    )
    value = Summary.Value(
        tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR
    )
    return Summary(value=[value])
