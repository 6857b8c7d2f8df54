"""TensorBoard's table of settings: the whole space declared once, and a row for each trial.

TensorBoard takes the columns from one place, so they are declared in `_search` alone; a trial says
only what it got and how it ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import struct_pb2
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from metasearch.observe.base import SearchInfo, State
from metasearch.observe.columns import Cell, Column
from metasearch.observe.leaderboard import score_title

# Time Series lists groups by name and unfolds the first two: `samples` and `score` come before
# `search`, and all that does not judge unseen tasks goes below `training`.
TRAINING = "training"
ENDED = f"{TRAINING}/ended"


def experiment(search: SearchInfo, columns: Sequence[Column]) -> Summary:
    """The columns: settings with what they may be, and metrics with what they mean."""
    metrics = {
        "score/unseen": (score_title(search), f"{search.unit}, on unseen tasks, last report"),
        "score/low": ("low", "lower end of the 95 % interval"),
        "score/high": ("high", "upper end of the 95 % interval"),
        "score/before": ("before adapting", "the same score without adaptation"),
        ENDED: ("0 done 1 pruned 2 failed", "how the trial ended; empty while it runs"),
        f"{TRAINING}/cost/gradients": ("gradients", "gradient evaluations spent"),
    }
    infos = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(tag=tag), display_name=title, description=description
        )
        for tag, (title, description) in metrics.items()
    ]
    told = api_pb2.Experiment(
        name=search.name,
        time_created_secs=time.time(),
        hparam_infos=[_hparam_info(column) for column in columns],
        metric_infos=infos,
    )
    return _hparams_summary(metadata.EXPERIMENT_TAG, experiment=told)


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


def session_start(run: str, row: Mapping[str, Cell]) -> Summary:
    """What a trial got."""
    start = plugin_data_pb2.SessionStartInfo(group_name=run, start_time_secs=time.time())
    for name, cell in row.items():
        start.hparams[name].CopyFrom(_value(cell))
    return _hparams_summary(metadata.SESSION_START_INFO_TAG, session_start_info=start)


def session_end(state: State) -> Summary:
    """How it ended: early stopping is no failure."""
    status = api_pb2.STATUS_FAILURE if state == "failed" else api_pb2.STATUS_SUCCESS
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _hparams_summary(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _value(cell: Cell) -> struct_pb2.Value:
    if isinstance(cell, bool):  # before numbers, for a bool is one
        return struct_pb2.Value(bool_value=cell)
    if isinstance(cell, str):
        return struct_pb2.Value(string_value=cell)
    return struct_pb2.Value(number_value=cell)


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
