"""The search in a terminal: a live view where one can be drawn, plain lines where not."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.observe.silence import Silence
from metasearch.observe.standing import Standing
from metasearch.observe.text import interval, number, printable, span
from metasearch.trial.report import Report

BEAT_S = 60.0  # a plain log gets a sign of life so often
COLOURS = {r"^best [\d.-]+": "bold green", r"\d+ pruned": "yellow", r"\d+ failed": "red"}
ROWS = 10  # running trials shown at most
WIDE = 72  # columns of a terminal from which on the table has all of its own


class Progress:
    """Shows a search on standard error: live in a terminal, line by line elsewhere.

    Args:
        console: where to write; standard error if None.
        live: draw and redraw one view; None decides by whether the console is a terminal.
        clock: seconds that never go back.
        places: on which machines a trial ran, from a file in its folder.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        places: Callable[[Path], Sequence[str]] = lambda _: (),
    ) -> None:
        self._console = console or Console(stderr=True)
        terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = terminal if live is None else live
        self._clock = clock
        self._places = places
        self._lock = threading.RLock()  # the view is drawn by another thread
        self._view: Live | None = None
        self._stop = threading.Event()
        self._open = False

    def opened(self, search: SearchInfo, past: Sequence[tuple[TrialInfo, Outcome]]) -> None:
        """Show the first view, or say what begins."""
        self._search = search
        self._ended = Standing(search.direction, past)
        self._before = len(past)
        self._running: dict[str, tuple[TrialInfo, Report | None]] = {}
        self._waiting: dict[str, tuple[TrialInfo, Report | None]] = {}
        self._silence = Silence(self._clock)
        self._begun = self._beaten = self._clock()
        self._closing = ""
        self._open = True
        if self._live:
            self._view = Live(
                get_renderable=self.view,
                console=self._console,
                refresh_per_second=2,
                redirect_stdout=sys.stdout.isatty(),  # a pipe must get what is printed to it
            )
            self._view.start(refresh=True)
            return
        done = f", {len(past)} done before" if past else ""
        limit = f", no new ones after {span(search.time_s)}" if search.time_s else ""
        self._line(
            f"search {search.name}: {search.trials} trials{done}{limit}; {self._yardstick()}"
        )
        threading.Thread(target=self._beat_on, name="progress", daemon=True).start()

    def started(self, trial: TrialInfo) -> None:
        """List the trial as running."""
        with self._lock:
            self._running[trial.name] = self._waiting.pop(trial.name, (trial, None))
            self._silence.begun(trial.name)

    def reported(self, trial: TrialInfo, report: Report) -> None:
        """Update the trial's row."""
        with self._lock:
            self._running[trial.name] = (trial, report)
            self._silence.broken(trial.name)

    def set_aside(self, trial: TrialInfo) -> None:
        """Count the trial among those that wait."""
        with self._lock:
            self._waiting[trial.name] = self._running.pop(trial.name)

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        """Count the trial; say how it ended, in a terminal only if it failed."""
        with self._lock:
            self._running.pop(trial.name, None)
            self._waiting.pop(trial.name, None)
            self._ended.add(trial, outcome)
        if not self._live:
            self._line(f"{self._tally()} {_ending(trial, outcome)}{self._if_best(trial)}")
        elif outcome.state == "failed":
            self._line(_ending(trial, outcome))

    def closed(self, interrupted: bool) -> None:  # noqa: FBT001 - a plain event
        """Leave the last view standing, or say how it went."""
        if not self._open:
            return
        self._open = False
        how = "interrupted after" if interrupted else "took"
        with self._lock:
            self._closing = f"{how} {span(self._elapsed())}"
        if self._view is not None:
            self._view.stop()
            self._view = None
        self._stop.set()
        if not self._live:
            self._line(" · ".join([self._tally(), self._closing, *self._counts(), *self._best()]))

    def beat(self) -> None:
        """Print one line if the last beat is a minute ago."""
        with self._lock:
            if self._clock() - self._beaten < BEAT_S:
                return
            self._beaten = self._clock()
            running = f"{len(self._running)} running"
            parts = [self._tally(), running, *self._counts(), *self._best(), self._eta()]
            silent = [f"{name} {why}" for name in self._running if (why := self._silent(name))]
            self._line(" · ".join([*parts, *silent]))

    def view(self) -> RenderableType:
        """The whole live view at the console's present width."""
        with self._lock:
            width, height = self._console.size
            parts: list[RenderableType] = [self._bar(width)]
            better = "lower" if self._search.direction == "minimize" else "higher"
            best = [*self._best(), f"{self._search.score}: {better} is better"]
            for facts in (best, self._counts(), self._times()):
                parts += _packed(facts, width)
            if self._running and not self._closing:
                room = max(1, min(ROWS, height - len(parts) - 3))
                parts.append(self._table(width, room))
            return Group(*parts)

    def _bar(self, width: int) -> RenderableType:
        done, total = len(self._ended), self._search.trials
        tally = f"{done}/{total} trials"
        name = Text(self._search.name, style="bold", no_wrap=True, overflow="ellipsis")
        name.truncate(max(8, width // 3), overflow="ellipsis")
        room = max(4, width - name.cell_len - cell_len(tally) - 2)
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, total), completed=done, width=min(40, room))
        grid.add_row(name, bar, Text(tally, no_wrap=True))
        return grid

    def _table(self, width: int, room: int) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("running", no_wrap=True, overflow="ellipsis", max_width=width // 2)
        table.add_column("budget", no_wrap=True, justify="right")
        table.add_column("score", no_wrap=True, overflow="ellipsis")
        if width >= WIDE:
            table.add_column("step", no_wrap=True, justify="right")
            table.add_column("state", no_wrap=True)
        shown = sorted(self._running.values(), key=lambda pair: pair[0].number)
        for trial, report in shown[:room]:
            table.add_row(*self._cells(trial, report, width))
        hidden = len(shown) - room
        more = [Text(f"and {hidden} more", style="dim")] if hidden > 0 else []
        return Group(table, *more)

    def _cells(self, trial: TrialInfo, report: Report | None, width: int) -> list[str]:
        state = self._silent(trial.name) or ("running" if report else "starting")
        if report is None:
            row = [trial.name, "-", "-", "0", state]
        else:
            done = _share(trial, report.step)
            budget = f"{done:.0%}" if done is not None else "-"
            with_band = interval(report.score, report.low, report.high)
            score = with_band if width >= WIDE else number(report.score)
            row = [trial.name, budget, score, f"{report.step:,}", state]
        return row if width >= WIDE else row[:3]

    def _silent(self, name: str) -> str:
        """For how long a trial says nothing, and where it runs; empty unless that is long."""
        if not (seconds := self._silence.of(name)):
            return ""
        place = [*self._places(self._search.folder / "trials" / name / "ran_on.jsonl")][-1:]
        return " on ".join([f"silent for {span(seconds)}", *place])

    def _tally(self) -> str:
        return f"{span(self._elapsed())} {len(self._ended)}/{self._search.trials}"

    def _yardstick(self) -> str:
        better = "lower" if self._search.direction == "minimize" else "higher"
        return f"{self._search.score} in {self._search.unit}, {better} is better"

    def _best(self) -> list[str]:
        leaders = self._ended.leaders
        if not leaders:
            return ["no finished trial yet"]
        trial, best = leaders[0]
        return [f"best {interval(best.score, best.low, best.high)}", trial.name]

    def _if_best(self, trial: TrialInfo) -> str:
        leaders = self._ended.leaders
        return ", the best so far" if leaders and leaders[0][0].name == trial.name else ""

    def _counts(self) -> list[str]:
        parts = [f"{self._ended.count('complete')} done"]
        if pruned := self._ended.count("pruned"):
            parts.append(f"{pruned} pruned ({self._ended.causes('pruned')})")
        if failed := self._ended.count("failed"):
            parts.append(f"{failed} failed ({self._ended.causes('failed')})")
        if self._waiting:
            parts.append(f"{len(self._waiting)} set aside")
        return parts

    def _times(self) -> list[str]:
        if self._closing:
            return [self._closing]
        return [f"elapsed {span(self._elapsed())}", self._eta()]

    def _eta(self) -> str:
        if self._search.time_s and self._elapsed() >= self._search.time_s:
            return "time is up, no new trials"
        left = self._seconds_left()
        return f"ETA {span(left)}" if left is not None else "ETA not known yet"

    def _elapsed(self) -> float:
        return self._clock() - self._begun

    def _seconds_left(self) -> float | None:
        """Until all trials are done at the pace of this sitting, or until time is up."""
        elapsed = self._elapsed()
        begun = sum(
            _share(trial, report.step) or 0.0 if report else 0.0
            for trial, report in (*self._running.values(), *self._waiting.values())
        )
        worked = len(self._ended) - self._before + begun
        left = self._search.trials - self._before - worked
        by_trials = elapsed * left / worked if worked > 0 else math.inf
        by_time = self._search.time_s - elapsed if self._search.time_s else math.inf
        soonest = min(by_trials, by_time)
        return max(0.0, soonest) if math.isfinite(soonest) else None

    def _beat_on(self) -> None:
        while not self._stop.wait(1.0):
            self.beat()

    def _line(self, text: str) -> None:
        # A log file has no width: its lines are not to be broken at 80 columns.
        plain = not self._live
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=plain)


def _ending(trial: TrialInfo, outcome: Outcome) -> str:
    score = interval(outcome.score, outcome.low, outcome.high)
    if outcome.state == "complete":
        return f"{trial.name} done: {score}"
    if outcome.state == "pruned":
        return f"{trial.name} pruned at step {outcome.step:,} ({outcome.reason}): {score}"
    last = outcome.error.strip().splitlines()[-1:]
    return f"{trial.name} failed at step {outcome.step:,} ({outcome.reason}): {''.join(last)}"


def _share(trial: TrialInfo, step: int) -> float | None:
    """How much of its budget a trial has spent; None if its config does not say."""
    budget = trial.config.get("budget")
    gradients = budget.get("gradients") if isinstance(budget, dict) else None
    return min(1.0, step / gradients) if isinstance(gradients, int) and gradients > 0 else None


def _packed(facts: Sequence[str], width: int) -> list[RenderableType]:
    """As few lines as hold all facts; one that is wider than a line loses its end."""
    lines: list[str] = []
    for fact in facts:
        joined = f"{lines[-1]} · {fact}" if lines else fact
        if lines and cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(fact)
    return [_painted(Text(line, no_wrap=True, overflow="ellipsis")) for line in lines]


def _painted(line: Text) -> Text:
    for pattern, style in COLOURS.items():
        line.highlight_regex(pattern, style)
    return line
