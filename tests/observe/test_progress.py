"""The terminal tells how far a search is, fits its width, and leaves standard output alone."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from metasearch.observe.base import Outcome
from metasearch.observe.progress import ROWS, Progress
from tests.observe.synthetic_search import (
    BUDGET,
    outcome_of,
    play,
    report,
    rungs_of,
    search_info,
    trial_info,
)

NOWHERE = Path("nowhere")


class Clock:
    """Time that passes only when told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Shown:
    """A progress view on a console that keeps what it prints."""

    def __init__(self, *, live, width=80, height=30, info=None, past=(), **console):
        self.file, self.clock = StringIO(), Clock()
        terminal = {"force_terminal": live, "legacy_windows": False}
        self.console = Console(
            file=self.file, width=width, height=height, **{**terminal, **console}
        )
        self.progress = Progress(self.console, live=live, clock=self.clock)
        self.progress.opened(info or search_info(NOWHERE, 16), past)

    def view(self):
        """The lines of the live view."""
        plain = Console(file=StringIO(), width=self.console.width, height=self.console.height)
        with plain.capture() as captured:
            plain.print(self.progress.view())
        return captured.get().splitlines()

    def lines(self):
        return self.file.getvalue().splitlines()

    def end(self, number, seconds=30.0):
        trial = trial_info(number)
        self.clock.now += seconds
        last = report(trial, rungs_of(trial), pictures=False)
        self.progress.started(trial)
        self.progress.reported(trial, last)
        self.progress.ended(trial, outcome_of(trial, last))

    def run(self, number, rung=None):
        trial = trial_info(number)
        self.progress.started(trial)
        if rung:
            self.progress.reported(trial, report(trial, rung, pictures=False))


@pytest.fixture
def live():
    made = []

    def make(**kwargs):
        made.append(Shown(live=True, **kwargs))
        return made[-1]

    yield make
    for shown in made:
        shown.progress.closed(interrupted=False)


@pytest.mark.parametrize("on_a_terminal", [True, False])
def test_who_is_silent_for_long_is_named_with_the_machine_and_others_are_not(live, on_a_terminal):
    shown = live(width=120) if on_a_terminal else Shown(live=False)
    shown.progress._places = lambda file: ["h1", f"h2 {file.name}"]

    def told():
        if on_a_terminal:
            return "\n".join(shown.view())
        shown.progress._beaten = -1e9
        shown.progress.beat()
        return shown.lines()[-1]

    name = trial_info(7).name
    shown.run(7)
    shown.clock.now += 900.0
    assert "silent" not in told(), "how long reports take is not known yet"
    shown.progress.reported(trial_info(7), report(trial_info(7), 1, pictures=False))
    for number in range(4):
        shown.run(number)
        shown.clock.now += 60.0
        shown.progress.reported(trial_info(number), report(trial_info(number), 1, pictures=False))
    assert "silent" in told() and name in told()
    for number in range(4):
        assert f"{trial_info(number).name} silent" not in told()
    assert "silent for 4:00" in told() and "on h2 ran_on.jsonl" in told()
    shown.progress.reported(trial_info(7), report(trial_info(7), 2, pictures=False))
    assert "silent" not in told()
    shown.progress.closed(interrupted=False)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("ended", [0, 8])
@pytest.mark.parametrize("name", ["glyphs-both", "a-search-with-a-name-" + "x" * 60])
def test_no_line_is_wider_than_the_terminal_nor_wrapped(live, width, ended, name):
    info = dataclasses.replace(search_info(NOWHERE, 1600), name=name)
    shown = live(width=width, info=info)
    for number in range(ended):
        shown.end(number)
    for number in range(8, 12):
        shown.run(number, rung=number - 7)
    lines = shown.view()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    assert sum("trials" in line for line in lines) == 1
    names = [trial_info(number).name for number in range(8, 12)]
    rows = [line for line in lines if line.startswith(tuple(names))]
    assert len(rows) == 4
    assert lines[-4:] == rows


def test_a_long_cause_loses_its_end_and_takes_no_second_line(live):
    shown = live(width=40)
    failed = Outcome("failed", "a_reason_" + "q" * 60)
    shown.progress.ended(trial_info(0), failed)
    assert sum("qqq" in line for line in shown.view()) == 1


def test_the_view_counts_trials_and_groups_causes(live):
    shown = live(width=120)
    for number in range(8):
        shown.end(number)
    text = "\n".join(shown.view())
    assert "8/16 trials" in text
    assert "4 done · 3 pruned (3 pruner) · 1 failed (1 out_of_memory)" in text


def test_the_view_shows_the_best_trial_with_its_interval(live):
    shown = live(width=120)
    assert any("no finished trial yet" in line for line in shown.view())
    for number, score in ((0, 0.41234), (1, 0.3), (2, 0.35)):
        outcome = Outcome("complete", "finished", score, score - 0.05, score + 0.05, BUDGET)
        shown.progress.ended(trial_info(number), outcome)
    best = next(line for line in shown.view() if line.startswith("best"))
    assert best.startswith(f"best 0.3000 [0.2500, 0.3500] · {trial_info(1).name}")
    assert "mmd: lower is better" in best


def test_a_running_trial_shows_its_share_of_the_budget_and_its_score(live):
    shown = live(width=100)
    shown.run(0)
    shown.run(1, rung=3)
    waiting, going = shown.view()[-2:]
    assert "starting" in waiting
    assert "50%" in going
    assert "30,000" in going
    assert f"{report(trial_info(1), 3, pictures=False).score:.4f}" in going


def test_at_most_ten_running_trials_are_listed_and_fewer_in_a_low_terminal(live):
    for height, rows in ((60, ROWS), (8, 1)):
        shown = live(height=height, width=40)
        for number in range(13):
            shown.run(number)
        lines = shown.view()
        assert lines[-1].strip() == f"and {13 - rows} more"
        assert len(lines) <= height


def test_time_left_follows_the_pace_of_trials(live):
    info = search_info(NOWHERE, trials=10, time_s=None)
    shown = live(info=info)
    assert "ETA not known yet" in shown.view()[-1]
    for number in range(4):
        shown.end(number, seconds=60)
    assert "elapsed 4:00 · ETA 6:00" in shown.view()[-1]
    shown.run(4, rung=3)  # half a trial more in the same time
    shown.clock.now += 30
    assert any("elapsed 4:30 · ETA 5:30" in line for line in shown.view())


def test_time_left_ends_with_the_time_budget(live):
    shown = live(info=search_info(NOWHERE, trials=1000, time_s=300.0))
    assert "ETA 5:00" in shown.view()[-1]
    shown.end(0, seconds=100)
    assert "ETA 3:20" in shown.view()[-1]
    shown.clock.now += 300
    assert "time is up" in shown.view()[-1]


def test_earlier_sittings_count_as_done_but_not_as_pace(live):
    past = [(trial_info(n), Outcome("complete", "finished", 0.5, 0.4, 0.6)) for n in range(6)]
    shown = live(info=search_info(NOWHERE, trials=10, time_s=None), past=past)
    assert "6/10 trials" in shown.view()[0]
    shown.end(6, seconds=60)
    assert "ETA 3:00" in shown.view()[-1]


def test_the_last_view_says_whether_the_search_was_interrupted():
    for interrupted, said in ((True, "interrupted after 0:30"), (False, "took 0:30")):
        shown = Shown(live=True, color_system=None)
        shown.end(0)
        shown.run(1)
        shown.progress.closed(interrupted=interrupted)
        assert shown.view()[-1].strip() == said
        assert said in shown.lines()[-2]  # after it comes the cursor, switched on again


def test_a_failure_stays_on_screen_above_the_view():
    shown = Shown(live=True, color_system=None)
    shown.end(5)
    shown.end(0)
    shown.progress.closed(interrupted=False)
    text = shown.file.getvalue()
    assert "0005-gan-reptile failed at step 10,000 (out_of_memory): MemoryError" in text
    assert "0000-vae-reptile done" not in text


def test_without_a_terminal_there_is_one_unbroken_line_per_trial():
    shown = Shown(live=False, width=20)
    for number in range(8):
        shown.end(number)
    shown.progress.closed(interrupted=False)
    first, *ends, last = shown.lines()
    assert first.startswith("search glyphs-both: 16 trials, no new ones after 20:00; mmd in")
    assert [line.split()[2] for line in ends] == [trial_info(n).name for n in range(8)]
    assert ends[0].startswith("0:30 1/16 0000-vae-reptile done: 0.")
    assert ends[0].endswith("], the best so far")
    assert "pruned at step 20,000 (pruner)" in ends[2]
    assert "failed at step 10,000 (out_of_memory): MemoryError: 2 GiB wanted" in ends[5]
    assert "4 done · 3 pruned (3 pruner) · 1 failed (1 out_of_memory)" in last


def test_without_a_terminal_there_is_one_sign_of_life_a_minute():
    shown = Shown(live=False)
    before = len(shown.lines())
    for _ in range(150):
        shown.clock.now += 1
        shown.progress.beat()
    beats = shown.lines()[before:]
    shown.progress.closed(interrupted=True)
    assert [beat.split()[0] for beat in beats] == ["1:00", "2:00"]
    assert "0 running · 0 done · no finished trial yet · ETA 19:00" in beats[0]


@pytest.mark.parametrize("live", [True, False])
def test_no_colour_is_used_where_none_is_wanted(live, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown = Shown(live=live, color_system="truecolor")
    for number in range(8):
        shown.end(number)
    shown.progress.closed(interrupted=False)
    assert "\x1b[3" not in shown.file.getvalue()
    assert "\x1b[9" not in shown.file.getvalue()


def test_everything_goes_to_standard_error(capsys):
    play([Progress()], NOWHERE, pictures=False)
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 10


def test_what_others_print_is_not_moved_off_a_piped_standard_output(capsys):
    shown = Shown(live=True)
    print("a result")  # noqa: T201
    shown.progress.closed(interrupted=False)
    assert capsys.readouterr().out == "a result\n"


def test_closing_what_was_never_opened_is_silent():
    file = StringIO()
    Progress(Console(file=file)).closed(interrupted=True)
    assert not file.getvalue()
