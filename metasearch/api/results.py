"""What a search found, read from its folder: neither torch, Ray nor Optuna is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metasearch.api.html import picture, table
from metasearch.errors import EnvironmentFault, RunError
from metasearch.observe.text import flat, interval
from metasearch.registry import nearest
from metasearch.report import PLOTS, Gallery, Story, gallery, leave_report
from metasearch.search.home import looked_at
from metasearch.search.leaders import Leaders, Place
from metasearch.search.ledger import Record, Run

if TYPE_CHECKING:
    import pandas

    from metasearch.drawing.scene import Scene

SHOWN = 20  # trials in a notebook's table


@dataclass(frozen=True)
class Trial:
    """One trial of a run."""

    run: Run
    record: Record

    @property
    def number(self) -> int:
        """Counts from 0 in the order of asking."""
        return self.record.number

    @property
    def name(self) -> str:
        """Such as "0007-vae-reptile"."""
        return self.record.info.name

    @property
    def state(self) -> str:
        """How it ended, "complete", "pruned" or "failed"; else "open"."""
        return self.record.outcome.state if self.record.outcome else "open"

    @property
    def score(self) -> float | None:
        """Mean over unseen tasks at its last report."""
        return self.record.outcome.score if self.record.outcome else None

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % interval of the score over tasks."""
        outcome = self.record.outcome
        if outcome is None or outcome.low is None or outcome.high is None:
            return None
        return outcome.low, outcome.high

    @property
    def params(self) -> Mapping[str, Any]:
        """What was drawn, by path."""
        return self.record.info.params

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved recipe."""
        return self.record.info.config

    @property
    def per_task(self) -> Mapping[str, float]:
        """The last scores, task by task; of a report that was broken off, those of some."""
        return self.record.last.per_task if self.record.last else {}

    @property
    def error(self) -> str:
        """The traceback's last lines, if it failed."""
        return self.record.outcome.error if self.record.outcome else ""

    def curve(self) -> list[tuple[int, float]]:
        """Step, in gradient evaluations, and score of every report."""
        return [(report.step, report.score) for report in self.record.reports()]

    def samples(self) -> Path | None:
        """The latest picture: support, before and after, on the same tasks in all trials."""
        return Story(self.run).sheet(self.record)

    def export(self, folder: str | Path) -> Path:
        """Judge this trial on the test tasks, beside its baselines, and pack it as a bundle.

        Raises:
            RunError: it has not finished, `folder` is there, or `test` was opened for another.
        """
        return _export(self.run, Path(folder), self.number)

    def __repr__(self) -> str:
        low, high = self.ci95 or (None, None)
        return f"<trial {self.name}: {self.state}, {interval(self.score, low, high)}>"

    def _repr_html_(self) -> str:
        """What it drew, how it ended, and its latest picture."""
        low, high = self.ci95 or (None, None)
        told = [(self.run.info.score, interval(self.score, low, high)), *flat(dict(self.params))]
        sheet = self.samples()
        seen = picture(sheet, f"support, before and after of {self.name}") if sheet else ""
        return table(["", f"{self.name}: {self.state}"], told) + seen


class Plots:
    """The plots of a run: `result.plot.history()`; a notebook shows what they return."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def __getattr__(self, name: str) -> Any:
        """One of the plots; None where the run has nothing for it yet."""
        if name not in PLOTS:
            raise AttributeError(f"no plot is called {name!r}; there are {', '.join(PLOTS)}")

        def draw(**settings: Any) -> Scene | None:
            return PLOTS[name](self._story, **settings)

        draw.__name__, draw.__doc__ = name, PLOTS[name].__doc__
        return draw

    def __dir__(self) -> list[str]:
        return list(PLOTS)


@dataclass(frozen=True)
class Result:
    """A run, as it was when it was read; `refresh` reads it again."""

    story: Story
    interrupted: bool = False  # the sitting that returned this ended before the search did

    @staticmethod
    def of(folder: str | Path, *, interrupted: bool = False) -> Result:
        """Read a run folder; it may be running, and may have been moved.

        Raises:
            RunError: it is no run folder, or is damaged.
        """
        return Result(Story.of(folder), interrupted)

    @property
    def run(self) -> Run:
        """The ledger, read."""
        return self.story.run

    @property
    def name(self) -> str:
        """Of the search."""
        return self.run.info.name

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.run.folder

    @property
    def state(self) -> str:
        """Running, finished or stopped."""
        return self.run.state

    @property
    def leaders(self) -> Leaders:
        """Who leads, by how much, and how sure that is."""
        return self.story.leaders

    @cached_property
    def trials(self) -> Sequence[Trial]:
        """All trials, by number."""
        return [Trial(self.run, record) for record in self.run.trials]

    @property
    def best(self) -> Trial | None:
        """The first of those that finished; None as long as none has."""
        best = self.run.best()
        return Trial(self.run, best[0]) if best else None

    @property
    def plot(self) -> Plots:
        """Plots of the run."""
        return Plots(self.story)

    def gallery(self, tasks: int = 6, trials: int = 8) -> Gallery:
        """What the best trials draw of the same unseen tasks, side by side."""
        return gallery(self.story, tasks=tasks, trials=trials)

    def refresh(self) -> Result:
        """The run as it is now.

        Raises:
            RunError: it is damaged, or gone.
        """
        return Result.of(self.folder)

    def export(self, folder: str | Path) -> Path:
        """Rank the best again on fresh tasks, open the test tasks once, and pack the winner.

        Raises:
            NoUsableTrial: no trial finished, or all diverge.
            RunError: `folder` is there already, or `test` was opened for another trial.
        """
        return _export(self.run, Path(folder), None)

    def to_pandas(self) -> pandas.DataFrame:
        """A row per trial: how it ended, its score, and what was drawn, a column per draw.

        Raises:
            EnvironmentFault: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise EnvironmentFault(
                "pandas is not installed. It comes with: pip install 'metasearch[search]'"
            ) from error
        rows = [{**_row(trial), **trial.params} for trial in self.trials]
        columns = [*_COLUMNS, *(draw.path for draw in self.run.info.draws)]
        return pandas.DataFrame(rows, columns=columns).set_index("trial")

    def __repr__(self) -> str:
        best = f", best {self.best!r}" if self.best else ""
        return f"<run {self.name}: {self.state}, {len(self.trials)} trials{best}>"

    def _repr_html_(self) -> str:
        info = self.run.info
        rows = [_place(i, place) for i, place in enumerate(self.leaders.places[:SHOWN], 1)]
        title = f"{self.name}: {self.state}; {info.score} in {info.unit}"
        better = "lower" if info.direction == "minimize" else "higher"
        return table(["", "trial", info.score, ""], rows, f"{title}, {better} is better")


_COLUMNS = ("trial", "name", "state", "reason", "score", "low", "high", "step", "seconds")


def _row(trial: Trial) -> dict[str, Any]:
    outcome = trial.record.outcome
    told = {key: getattr(outcome, key, None) for key in _COLUMNS[3:]}
    return {"trial": trial.number, "name": trial.name, "state": trial.state, **told}


def _place(i: int, place: Place) -> tuple[object, ...]:
    outcome = place.record.outcome
    assert outcome is not None, "only trials that finished have a place"
    score = interval(place.score if math.isfinite(place.score) else None, outcome.low, outcome.high)
    return i, place.record.info.name, score, "not settled" if place.settled is False else ""


def _export(run: Run, folder: Path, trial: int | None) -> Path:
    from metasearch.search.config import SearchFile
    from metasearch.search.export import export

    search = SearchFile.load(run.folder / "search.yaml").search
    export(run, folder, trial=trial, confirm=search.confirm, baselines=search.baselines)
    leave_report(run.folder)
    return folder


def open(run: str | Path) -> Result:
    """What a run found: a folder, or the name of one in METASEARCH_HOME (or `runs` here).

    Raises:
        RunError: there is none, or it is damaged.
    """
    home = Path(os.environ.get("METASEARCH_HOME") or "runs")
    for folder in map(looked_at, (run, home / run)):
        if (folder / "manifest.json").is_file():
            return Result.of(folder)
    known = sorted(found.parent.name for found in home.glob("*/manifest.json"))
    there = f"runs in {home}: {', '.join(known)}" if known else f"there are no runs in {home}"
    near = nearest(str(run), known)
    raise RunError(f"{str(run)!r} is no run folder, and no run is called so; {there}.{near}")
