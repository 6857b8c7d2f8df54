"""TensorBoard: one run per trial, `_search` above them, and a table of settings that is right.

The table (its tab is called HParams) takes its columns from one place, so the whole space is
declared once, in `_search`; a trial says only what it got and how it ended.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary

from metasearch.drawing.raster import small_png, to_image
from metasearch.drawing.scene import Scene
from metasearch.errors import EnvironmentFault
from metasearch.observe.base import Outcome, SearchInfo, State, TrialInfo
from metasearch.observe.columns import Column, cells, columns
from metasearch.observe.event_file import EventFile, Layout
from metasearch.observe.grid import sample_grid, to_png
from metasearch.observe.hparams import ENDED, TRAINING, experiment, session_end, session_start
from metasearch.observe.leaderboard import leaderboard
from metasearch.observe.overview import Pictured, failures, overview
from metasearch.observe.selection import selections
from metasearch.observe.standing import Ended, Standing
from metasearch.observe.taskmap import scores_by_step, task_map
from metasearch.observe.text import flat, markdown_table
from metasearch.observe.thrift import Thrift
from metasearch.trial.report import Report

SEARCH_RUN = "_search"
CARD = 480.0  # pixels of a card, to which wider drawings are shrunk until nobody can read them
_CODES: Mapping[State, int] = {"complete": 0, "pruned": 1, "failed": 2}
_LAYOUT: Layout = {
    "Unseen tasks": {
        "score with its 95 % interval": ("Margin", ["score/unseen", "score/low", "score/high"]),
        "after and before adapting": ("Multiline", ["^score/unseen$", "^score/before$"]),
    },
    "Search": {
        "best so far": ("Margin", ["search/best", "search/best_low", "search/best_high"]),
        "how trials ended": ("Multiline", ["^search/(ended|pruned|failed)$"]),
    },
    "Cost": {"seconds": ("Multiline", [f"^{TRAINING}/cost/seconds$"])},
    "Training": {"losses": ("Multiline", [f"^{TRAINING}/loss/"])},
    "Strategy": {
        "evenness of chances, 1 for equal": ("Multiline", [f"^{TRAINING}/strategy/.*/entropy$"]),
        "largest chance": ("Multiline", [f"^{TRAINING}/strategy/.*/largest$"]),
    },
}
_EARLY = 8  # trials after each of which `_search` is drawn anew; later, after each tenth more


@dataclass
class _Told:
    """What a running trial has said."""

    scalars: dict[int, Mapping[str, float]] = field(default_factory=dict)
    per_task: dict[int, Mapping[str, float]] = field(default_factory=dict)
    pictured: bool = False  # it was among the best at its last report


class TensorBoard:
    """Writes a search as TensorBoard event files below ``<search>/tensorboard``.

    The horizontal axis is `Report.step` in a trial's run, and the number of ended trials in
    `_search`. What is reported again after an interruption replaces what stood there.

    Args:
        share: of the time that drawing may take; see `Thrift`.
    """

    def __init__(self, share: float = 0.05) -> None:
        self._thrift = Thrift(share)
        self._folder = Path()
        self._columns: list[Column] = []
        self._writers: dict[str, EventFile] = {}
        self._told: dict[str, _Told] = {}
        self._ended: list[Ended] = []
        self._drawn = 0  # trials that had ended when `_search` was last drawn

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """Declare the space; write `_search` anew, as after each of `past`."""
        self._folder = search.folder / "tensorboard"
        self._search = search
        self._columns = columns(search.draws)
        self._standing = Standing(search.direction)
        self._pictured = Pictured(search.direction == "minimize")
        self._ended, self._drawn = [], 0
        writer = self._open(SEARCH_RUN, purge_step=0)
        writer.add(experiment(search, self._columns))
        writer.layout(_LAYOUT)
        for trial, outcome in past:
            self._count(trial, outcome)
            if not (self._folder / trial.name).exists():
                self._end_run(trial, outcome)
        self._draw_search()
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
        told = self._told.setdefault(trial.name, _Told())
        told.scalars[report.step] = report.scalars
        told.per_task[report.step] = report.per_task
        told.pictured = self._pictured.admits(report.step, report.score)
        if report.samples is not None and told.pictured and _due(len(told.scalars), report):
            sheet = sample_grid(report.samples)
            writer.add(_picture("samples/unseen", to_png(sheet), sheet.size), report.step)
        writer.flush()

    def set_aside(self, trial: TrialInfo) -> None:
        """Close the run's file: hundreds may wait."""
        self._close(trial.name)

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Close the trial's run and bring `_search` up to date."""
        self._end_run(trial, outcome)
        self._count(trial, outcome)
        if len(self._ended) <= _EARLY or len(self._ended) >= 1.1 * self._drawn:
            self._thrift(self._draw_search)
        self._writers[SEARCH_RUN].flush()

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001, ARG002 - a plain event
        """Close all files; runs without an end show as unknown until they are continued."""
        self._draw_search()
        for run in list(self._writers):
            self._close(run)

    def _run(self, trial: TrialInfo, purge_step: int | None = None) -> EventFile:
        """The writer of a trial, which says first what the trial got."""
        if trial.name in self._writers:
            return self._writers[trial.name]
        fresh = not (self._folder / trial.name).exists()
        writer = self._open(trial.name, purge_step)
        row = cells(self._columns, trial.params)
        writer.add(session_start(trial.name, row))
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
        writer = self._run(trial)
        told = self._told.pop(trial.name, None)
        if told is not None and told.pictured:
            self._thrift(lambda: self._draw_trial(writer, told, outcome.step))
        if outcome.error:
            text = f"**{outcome.reason}**\n\n```\n{outcome.error}\n```"
            writer.text("trial/error", text, outcome.step)
        writer.numbers({ENDED: _CODES[outcome.state]}, outcome.step)
        writer.add(session_end(outcome.state))
        self._close(trial.name)

    def _draw_trial(self, writer: EventFile, told: _Told, step: int) -> None:
        for tag, drawn in _drawings(self._search, told).items():
            writer.add(_drawn(tag, drawn), step)

    def _count(self, trial: TrialInfo, outcome: Outcome) -> None:
        standing = self._standing
        standing.add(trial, outcome)
        self._ended.append((trial, outcome))
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
        if outcome.state == "failed":
            writer.text("failures", failures(self._ended), n)

    def _draw_search(self) -> None:
        """Bring the pictures of `_search` up to date."""
        if SEARCH_RUN not in self._writers or self._drawn == len(self._ended):
            return
        self._drawn = len(self._ended)
        for name, drawn in overview(self._search, self._ended).items():
            self._writers[SEARCH_RUN].add(_drawn(f"search/{name}", drawn), self._drawn)


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


def _scalars(report: Report) -> dict[str, float]:
    costs = {f"cost/{name}": value for name, value in vars(report.cost).items()}
    more = {**report.scalars, **costs}
    return {
        **{tag if tag.startswith("score/") else f"{TRAINING}/{tag}": v for tag, v in more.items()},
        "score/unseen": report.score,
        "score/low": report.low,
        "score/high": report.high,
        "score/before": report.before,
    }


def _due(reports: int, report: Report) -> bool:
    """Whether so many reports of a trial are a time to show samples: the first, second, fourth."""
    return report.final or reports & (reports - 1) == 0


def _drawings(search: SearchInfo, told: _Told) -> dict[str, Scene]:
    """The story of a trial by tag: who was chosen when, and how it did on each task."""
    steps = sorted(told.scalars)
    chosen = selections(told.scalars, CARD)
    found = {f"strategy/{axis}": scene for axis, scene in chosen.items()}
    last = told.scalars[steps[-1]]
    floor, real = (last.get(f"score/{end}", math.nan) for end in ("floor", "real"))
    tasks = task_map(
        scores_by_step([(step, told.per_task[step]) for step in steps]),
        search.direction,
        "Unseen tasks over the budget",
        (floor, real) if math.isfinite(floor + real) else None,  # one scale for the whole search
    )
    return found | ({"score/each task": tasks} if tasks else {})


def _drawn(tag: str, scene: Scene) -> Summary:
    image = to_image(scene.with_title(), 1.25)
    return _picture(tag, small_png(image), image.size)


def _picture(tag: str, png: bytes, size: tuple[int, int]) -> Summary:
    width, height = size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=image)])
