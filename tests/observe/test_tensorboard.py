"""What TensorBoard will show, read back through TensorBoard's own code."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import socket
import subprocess
import sys
import urllib.parse
import warnings

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metasearch.observe.base import Outcome
from metasearch.observe.grid import sample_grid
from metasearch.observe.tensorboard import SEARCH_RUN, TensorBoard, deep_link
from tests.observe.synthetic_search import (
    DRAWS,
    outcome_of,
    play,
    report,
    rungs_of,
    search_info,
    trial_info,
)

ENDED = "training/ended"


def loaded(folder, run):
    events = EventAccumulator(str(folder / "tensorboard" / run), size_guidance={"images": 0})
    return events.Reload()


def curve(folder, run, tag="score/unseen"):
    return [(event.step, event.value) for event in loaded(folder, run).Scalars(tag)]


def text(folder, run, tag):
    return [e.tensor_proto.string_val[0].decode() for e in loaded(folder, run).Tensors(tag)]


def table(folder):
    """The HParams tab as its server answers: the experiment, and rows by trial name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard carries with it
        from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
        from tensorboard.context import RequestContext
        from tensorboard.plugins import base_plugin
        from tensorboard.plugins.hparams import (
            api_pb2,
            backend_context,
            get_experiment,
            list_session_groups,
        )
    logdir = str(folder / "tensorboard")
    runs = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(logdir).Reload()
    provider = data_provider.MultiplexerDataProvider(runs, logdir)
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider, logdir=logdir))
    ask = RequestContext(), context, ""
    experiment = get_experiment.Handler(*ask, api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=list(range(4))
    )
    groups = list_session_groups.Handler(*ask, request).run().session_groups
    return experiment, {group.name: group for group in groups}


def metric(row, tag):
    return {value.name.tag: value.value for value in row.metric_values}.get(tag)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    return folder, play([TensorBoard(share=math.inf)], folder)


def test_there_is_one_run_per_trial_and_one_for_the_search(played):
    folder, ended = played
    runs = {path.name for path in (folder / "tensorboard").iterdir()}
    assert runs == {SEARCH_RUN} | {trial.name for trial, _ in ended}


def test_every_trial_is_a_row_with_its_settings(played):
    folder, ended = played
    _, rows = table(folder)
    assert list(rows) == [trial.name for trial, _ in ended]
    for trial, _ in ended:
        cells = rows[trial.name].hparams
        assert cells["models[0]"].string_value == trial.params["models[0]"]
        assert cells["outer.lr"].number_value == trial.params["outer.lr"]
        assert ("models[0].vae.beta" in cells) == ("vae" in trial.name)
        absent = cells["models[0].gan.loss"].string_value == "n/a"
        assert absent == ("vae" in trial.name)


def test_the_whole_space_is_declared_with_types_and_domains(played):
    experiment, _ = table(played[0])
    infos = {info.name: info for info in experiment.hparam_infos}
    assert set(infos) == {draw.path for draw in DRAWS}
    kinds = {
        name: type(info).DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[info.type]
        for name, info in infos.items()
    }
    assert kinds["models[0]"].name == "DATA_TYPE_STRING"
    assert kinds["outer.lr"].name == "DATA_TYPE_FLOAT64"
    assert list(infos["strategy.tasks"].domain_discrete) == ["random", "competitive", "cooperative"]
    assert infos["outer.lr"].domain_interval.max_value == 1e-2


def test_the_columns_shown_unasked_hold_a_value_in_every_row(played):
    experiment, rows = table(played[0])
    shown = [info.name for info in experiment.hparam_infos][:5]
    assert {"models[0]", "algorithms[0]", "strategy.tasks", "strategy.algorithms"} <= set(shown)
    assert all(set(shown) <= set(row.hparams) for row in rows.values())


def test_the_metric_columns_are_six_and_every_finished_trial_has_them(played):
    folder, ended = played
    experiment, rows = table(folder)
    tags = [info.name.tag for info in experiment.metric_infos]
    scores = ["score/unseen", "score/low", "score/high", "score/before"]
    assert tags == [*scores, ENDED, "training/cost/gradients"]
    for trial, outcome in ended:
        assert {value.name.tag for value in rows[trial.name].metric_values} == set(tags)
        if outcome.score is not None:
            score = metric(rows[trial.name], "score/unseen")
            assert score == pytest.approx(outcome.score, rel=1e-6)


def test_finished_pruned_and_failed_trials_are_told_apart(played):
    folder, ended = played
    _, rows = table(folder)
    code = {"complete": 0, "pruned": 1, "failed": 2}
    for trial, outcome in ended:
        assert metric(rows[trial.name], ENDED) == code[outcome.state]
        (session,) = rows[trial.name].sessions
        failed = (
            session.status
            == session.DESCRIPTOR.file.enum_types_by_name["Status"]
            .values_by_name["STATUS_FAILURE"]
            .number
        )
        assert failed == (outcome.state == "failed")


def test_a_trial_that_dies_before_its_first_report_is_a_row_too(tmp_path):
    board, trial = TensorBoard(share=math.inf), trial_info(5)
    board.opened(search_info(tmp_path), [])
    board.started(trial)
    board.ended(trial, outcome_of(trial, None))
    board.closed(interrupted=False)
    _, rows = table(tmp_path)
    assert metric(rows[trial.name], ENDED) == 2
    assert "MemoryError" in text(tmp_path, trial.name, "trial/error/text_summary")[0]


def test_a_trial_is_a_row_while_it_runs(tmp_path):
    board, trial = TensorBoard(share=math.inf), trial_info(1)
    board.opened(search_info(tmp_path), [])
    board.started(trial)
    _, rows = table(tmp_path)
    board.closed(interrupted=False)
    assert list(rows) == [trial.name]
    assert metric(rows[trial.name], ENDED) is None


def test_the_horizontal_axis_is_the_step_of_the_report(played):
    folder, ended = played
    for trial, _ in ended:
        said = [report(trial, rung, pictures=False) for rung in range(1, rungs_of(trial) + 1)]
        steps, values = zip(*curve(folder, trial.name), strict=True)
        assert list(steps) == [one.step for one in said]
        np.testing.assert_allclose(values, [one.score for one in said], rtol=1e-6)


def test_what_does_not_judge_unseen_tasks_sorts_below_what_does(played):
    folder, ended = played
    tags = loaded(folder, ended[0][0].name).Tags()["scalars"]
    assert {tag.split("/")[0] for tag in tags} == {"score", "training"}
    assert {"training/loss/encoder", "training/cost/seconds", "training/tasks/non_finite"} <= set(
        tags
    )


def test_pictures_are_the_sheet_people_see_elsewhere(played):
    folder, ended = played
    trial = ended[0][0]
    first = loaded(folder, trial.name).Images("samples/unseen")[0]
    said = report(trial, 1)
    read = Image.open(io.BytesIO(first.encoded_image_string)).convert("RGB")
    assert first.step == said.step
    assert (first.width, first.height) == read.size
    np.testing.assert_array_equal(np.asarray(read), np.asarray(sample_grid(said.samples)))


def test_the_search_run_follows_the_best_with_its_interval(played):
    folder, ended = played
    best = dict(curve(folder, SEARCH_RUN, "search/best"))
    low = dict(curve(folder, SEARCH_RUN, "search/best_low"))
    so_far = math.inf
    for n, (_, outcome) in enumerate(ended, 1):
        if outcome.state == "complete" and outcome.score < so_far:
            so_far, so_low = outcome.score, outcome.low
        assert best[n] == pytest.approx(so_far)
        assert low[n] == pytest.approx(so_low)
    assert curve(folder, SEARCH_RUN, "search/ended")[-1] == (8, 8.0)
    assert curve(folder, SEARCH_RUN, "search/failed")[-1] == (8, 1.0)


def test_the_leaderboard_names_the_best_trial_first(played):
    folder, ended = played
    finished = [pair for pair in ended if pair[1].state == "complete"]
    best = min(finished, key=lambda pair: pair[1].score)[0]
    board = text(folder, SEARCH_RUN, "leaderboard/text_summary")[-1]
    first_row = next(line for line in board.splitlines() if line.startswith("| 1 |"))
    assert best.name in first_row


def test_the_config_of_a_trial_is_a_table_of_paths(played):
    folder, ended = played
    page = text(folder, ended[0][0].name, "trial/config/text_summary")
    assert len(page) == 1
    assert "| `models[0].name` | `vae` |" in page[0]


def interrupted(folder):
    """One trial finished, a second reported up to its fourth rung; then the process dies."""
    board, done, torn = TensorBoard(share=math.inf), trial_info(0), trial_info(4)
    board.opened(search_info(folder), [])
    for trial, rungs in ((done, 6), (torn, 4)):
        board.started(trial)
        for rung in range(1, rungs + 1):
            board.reported(trial, report(trial, rung))
    outcome = outcome_of(done, report(done, 6))
    board.ended(done, outcome)
    board.closed(interrupted=True)  # a killed process leaves the same, for reports are flushed
    return [(done, outcome)], torn


def test_steps_reported_again_after_an_interruption_replace_the_old_ones(tmp_path):
    past, torn = interrupted(tmp_path)
    board = TensorBoard(share=math.inf)
    board.opened(search_info(tmp_path), past)
    board.started(torn)
    for rung in (3, 4, 5):
        board.reported(torn, dataclasses.replace(report(torn, rung), score=10.0 + rung))
    board.closed(interrupted=True)
    points = curve(tmp_path, torn.name)
    assert [step for step, _ in points] == [report(torn, rung).step for rung in range(1, 6)]
    assert [value for _, value in points][2:] == [13.0, 14.0, 15.0]
    assert len(text(tmp_path, torn.name, "trial/config/text_summary")) == 1


def test_a_trial_started_anew_in_the_same_sitting_replaces_what_it_said(tmp_path):
    board, trial = TensorBoard(share=math.inf), trial_info(4)
    board.opened(search_info(tmp_path), [])
    for scale in (1.0, 2.0):
        board.started(trial)
        for rung in (1, 2):
            board.reported(trial, dataclasses.replace(report(trial, rung), score=scale * rung))
    board.closed(interrupted=False)
    assert [value for _, value in curve(tmp_path, trial.name)] == [2.0, 4.0]


def test_the_search_run_is_written_anew_from_what_is_known_to_have_ended(tmp_path):
    past, _ = interrupted(tmp_path)
    trial = trial_info(1)
    more = [*past, (trial, Outcome("complete", "finished", 0.01, 0.0, 0.02, step=60_000))]
    for told in (past, more):
        board = TensorBoard(share=math.inf)
        board.opened(search_info(tmp_path), told)
        board.closed(interrupted=True)
    best = curve(tmp_path, SEARCH_RUN, "search/best")
    assert [step for step, _ in best] == [1, 2]
    assert best[-1][1] == pytest.approx(0.01)


def test_a_trial_of_an_earlier_sitting_without_a_run_gets_its_row(tmp_path):
    trial = trial_info(1)
    board = TensorBoard(share=math.inf)
    board.opened(search_info(tmp_path), [(trial, Outcome("pruned", "pruner", 0.5, step=10_000))])
    board.closed(interrupted=False)
    _, rows = table(tmp_path)
    assert metric(rows[trial.name], ENDED) == 1


def test_a_score_that_is_not_a_number_breaks_no_row(tmp_path):
    board, trial = TensorBoard(share=math.inf), trial_info(0)
    nan = math.nan
    board.opened(search_info(tmp_path), [])
    board.started(trial)
    board.reported(trial, dataclasses.replace(report(trial, 1), score=nan, low=nan, high=nan))
    board.ended(trial, Outcome("pruned", "non_finite", nan, nan, nan, step=10_000))
    board.closed(interrupted=False)
    _, rows = table(tmp_path)
    assert math.isnan(metric(rows[trial.name], "score/unseen"))
    assert "No trial has finished" in text(tmp_path, SEARCH_RUN, "leaderboard/text_summary")[-1]


def test_the_deep_link_pins_the_score_and_smooths_nothing():
    link = urllib.parse.urlsplit(deep_link(6007))
    asked = urllib.parse.parse_qs(link.query)
    assert (link.netloc, link.fragment) == ("127.0.0.1:6007", "timeseries")
    assert json.loads(asked["pinnedCards"][0]) == [{"plugin": "scalars", "tag": "score/unseen"}]
    assert asked["smoothing"] == ["0"]


VIEW = """
import json, sys, urllib.request
from pathlib import Path
from metasearch.observe.tensorboard import serve
serve(Path(sys.argv[1]), int(sys.argv[2]))
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/data/environment") as answer:
    title = json.load(answer)["window_title"]
print(json.dumps([title, "torch" in sys.modules]))
"""


def view(folder, port):
    command = [sys.executable, "-c", VIEW, str(folder / "tensorboard"), str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_viewer_answers_and_prints_nothing_and_needs_no_torch(played):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ran = view(played[0], port)
    assert json.loads(ran.stdout) == ["metasearch", False]
    assert not ran.stderr


def test_a_taken_port_is_named(played):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = view(played[0], port)
    assert f"EnvironmentFault: TensorBoard did not start on 127.0.0.1:{port}" in ran.stderr
    assert "another --port" in ran.stderr


def images(folder, run):
    return {tag: loaded(folder, run).Images(tag) for tag in loaded(folder, run).Tags()["images"]}


def test_the_search_is_drawn_as_it_goes_and_whole_at_its_end(tmp_path):
    play([TensorBoard(share=math.inf)], tmp_path, trials=30, pictures=False)
    found = images(tmp_path, SEARCH_RUN)
    assert set(found) == {
        "search/best so far", "search/importance", "search/parallel coordinates",
    }  # fmt: skip
    steps = [event.step for event in found["search/parallel coordinates"]]
    assert steps[-1] == 30
    assert len(steps) < 24, "not after each of many trials"


def test_failures_are_told_by_cause(played):
    (told,) = text(played[0], SEARCH_RUN, "failures/text_summary")
    assert told.startswith("**1 out_of_memory**")
    assert "0005-gan-reptile" in told
    assert "MemoryError: 2 GiB wanted" in told


def test_each_task_is_drawn_over_the_budget(played):
    found = images(played[0], "0000-vae-reptile")
    assert [event.step for event in found["score/each task"]][-1] == 60_000


def test_pictures_of_trials_that_are_far_behind_are_left_out(tmp_path):
    board = TensorBoard(share=math.inf)
    board.opened(search_info(tmp_path), [])
    for number in range(30):
        trial = trial_info(number)
        board.started(trial)
        board.reported(trial, dataclasses.replace(report(trial, 1), score=float(number)))
    late, early = trial_info(40), trial_info(41)
    board.reported(late, dataclasses.replace(report(late, 1), score=99.0))
    board.reported(early, dataclasses.replace(report(early, 1), score=-1.0))
    board.closed(interrupted=True)
    assert images(tmp_path, late.name) == {}
    assert "samples/unseen" in images(tmp_path, early.name)
    assert curve(tmp_path, late.name) == [(10_000, 99.0)]


def test_charts_that_belong_together_are_drawn_together(played):
    from tensorboard.plugins.custom_scalar import layout_pb2, metadata

    (event,) = loaded(played[0], SEARCH_RUN).Tensors(metadata.CONFIG_SUMMARY_TAG)
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert [c.title for c in layout.category] == [
        "Unseen tasks", "Search", "Cost", "Training", "Strategy",
    ]  # fmt: skip
    band = layout.category[0].chart[0].margin.series[0]
    assert (band.value, band.lower, band.upper) == ("score/unseen", "score/low", "score/high")
