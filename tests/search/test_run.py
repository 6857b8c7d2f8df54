"""Opening, continuing, ending."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metasearch import space
from metasearch.errors import EnvironmentFault, RunError
from metasearch.search.advisors import TPE, RandomSearch
from metasearch.search.backend import trial_name
from metasearch.search.config import SearchFile
from metasearch.search.ledger import Ledger, open_run
from metasearch.search.run import Plan, run_search
from metasearch.search.stopping import NoPruner
from tests.search.driver import lines
from tests.search.plans import plan
from tests.search.planted import STRIDE, TRIAL


class Tell:
    """An observer that calls a function at each event: name, trial number or None, the rest."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def opened(self, search, past):
        self._call("opened", None, past)

    def started(self, trial):
        self._call("started", trial.number)

    def reported(self, trial, report):
        self._call("reported", trial.number, report)

    def set_aside(self, trial):
        self._call("set_aside", trial.number)

    def ended(self, trial, outcome):
        self._call("ended", trial.number, outcome)

    def closed(self, interrupted):
        self._call("closed", None, interrupted)


def on(event: str, number: int | None, do: Callable[[], Any]) -> Tell:
    """Does something when this happens."""
    return Tell(lambda name, n, *_: do() if (name, n) == (event, number) else None)


def search(made: Plan, folder: Path, *observers, **how: Any):
    return run_search(made, folder, observers, trial=TRIAL, **how)


def states(folder: Path) -> list[str | None]:
    return [t.outcome.reason if t.outcome else None for t in open_run(folder).trials]


def test_a_run_folder_holds_what_its_format_says(tmp_path):
    search(plan({"snapshots": True}, trials=2), tmp_path / "r", data={"tasks": 7})
    found = {str(p.relative_to(tmp_path / "r")) for p in (tmp_path / "r").rglob("*") if p.is_file()}
    assert found - {"ledger/.lock", "ledger/lease.json"} == {
        "search.yaml", "manifest.json", "study.journal",
        *(f"trials/000{n}/ran_on.jsonl" for n in (0, 1)),
        *(f"ledger/000{n}.{what}.json" for n in (0, 1) for what in ("asked", "done")),
        *(f"trials/000{n}/{what}" for n in (0, 1) for what in ("config.yaml", "reports.jsonl")),
        *(f"trials/000{n}/checkpoints/{step}/{what}.json"
          for n in (0, 1) for step in (300, 400) for what in ("made", "report")),
    }  # fmt: skip
    manifest = json.loads((tmp_path / "r/manifest.json").read_text())
    assert manifest["data"] == {"tasks": 7} and manifest["format"] == 1
    assert {"metasearch", "python", "torch", "optuna", "ray", "numpy"} == set(manifest["versions"])


def test_more_trials_prolong_a_finished_search(tmp_path):
    past = []
    search(plan(trials=2), tmp_path / "r")
    before = open_run(tmp_path / "r").trials
    watch = Tell(lambda name, _, *rest: past.extend(rest[0]) if name == "opened" else None)
    summary = search(plan(trials=4, max_concurrent=3, name="other"), tmp_path / "r", watch)
    assert summary.ending == "trials" and len(summary.run.trials) == 4
    assert list(summary.run.trials[:2]) == list(before)
    assert past == [(t.info, t.outcome) for t in before]
    assert summary.run.info.trials == 4


def test_a_finished_search_run_again_starts_nothing_to_run_trials_on(tmp_path):
    class Absent:
        in_process = True

        def __enter__(self):
            raise AssertionError("a cluster was started for nothing")

        def __exit__(self, *_):
            pass

    folder = tmp_path / "run"
    search(plan({}, trials=3), folder)
    told = search(plan({}, trials=3), folder, backend=Absent())
    assert (told.ending, told.exit_code) == ("trials", 0)
    with pytest.raises(AssertionError, match="for nothing"):
        search(plan({}, trials=4), folder, backend=Absent())


def test_a_finished_search_run_again_does_nothing(tmp_path):
    account = tmp_path / "account"
    for _ in range(2):
        assert search(plan({"account": str(account)}, trials=1), tmp_path / "r").exit_code == 0
    assert len(lines(account)) == 5


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        ({"space": {"y": {"uniform": [0.0, 2.0]}}}, "+  y:"),
        ({"space": {"reports": 5}}, "+  reports: 5"),
        ({"seed": 1}, "-  seed: 0\n+  seed: 1"),
        ({"sampler": TPE()}, "+    name: tpe"),
        ({"pruner": NoPruner()}, "+    name: none"),
    ],
)
def test_another_space_or_other_rules_are_refused_and_shown(tmp_path, change, shows):
    search(plan(trials=1, sampler=RandomSearch()), tmp_path / "r")
    with pytest.raises(RunError) as refusal:
        search(plan(**{"trials": 1, **change}), tmp_path / "r")
    assert shows in str(refusal.value) and "another --name" in str(refusal.value)
    assert open_run(tmp_path / "r").state == "finished", "and the folder is as it was"


def test_a_search_goes_on_that_was_begun_before_some_settings_came(tmp_path):
    search(plan(trials=2), tmp_path / "r")
    file = tmp_path / "r" / "search.yaml"
    written = yaml.safe_load(file.read_text())
    del written["search"]["race"], written["search"]["pruner"]["least_trials"]
    file.write_text(yaml.safe_dump(written))
    assert len(search(plan(trials=3), tmp_path / "r").run.trials) == 3


def test_a_space_that_only_widens_goes_on_if_that_is_wanted(tmp_path):
    search(plan({"y": {"choice": [1, 2]}}, trials=4, sampler=TPE(startup_trials=2)), tmp_path / "r")
    before = open_run(tmp_path / "r").trials
    wider = plan({"y": {"choice": [1, 2, 3]}, "x": {"uniform": [0.0, 3.0]}}, trials=40,
                 sampler=TPE(startup_trials=2))  # fmt: skip
    with pytest.raises(RunError, match="It only widens: --extend goes on with it"):
        search(wider, tmp_path / "r")
    run = search(wider, tmp_path / "r", resume="extend").run
    assert list(run.trials[:4]) == list(before) and len(run.trials) == 40
    assert any(t.info.params["y"] == 3 or t.info.params["x"] > 1 for t in run.trials)
    first, second = run.manifest["sittings"]
    assert "extended" not in first and "+  - 3" in second["extended"].replace("    ", "  ")
    narrow = plan(
        {"y": {"choice": [1, 3]}, "x": {"uniform": [0.0, 3.0]}}, sampler=TPE(startup_trials=2)
    )
    with pytest.raises(RunError, match="y: 2 was an option and is none"):
        search(narrow, tmp_path / "r", resume="extend")
    with pytest.raises(RunError, match="another space or other rules"):
        search(plan(seed=7), tmp_path / "r", resume="extend")


def test_until_something_was_asked_everything_may_change(tmp_path):
    class Unfit:
        def __enter__(self):
            raise EnvironmentFault("no trial fits")

        def __exit__(self, *_):
            """Never entered."""

    with pytest.raises(EnvironmentFault):
        run_search(plan(trials=1), tmp_path / "r", backend=Unfit(), data={"images": 10})
    change = {"y": {"uniform": [0.0, 2.0]}}
    done = search(plan(change, trials=1), tmp_path / "r", data={"images": 11})
    assert done.run.state == "finished"
    assert done.run.manifest["data"] == {"images": 11}
    assert "y" in done.run.trials[0].info.params


def test_other_data_are_refused(tmp_path):
    search(plan(trials=1), tmp_path / "r", data={"images": 10, "sum": [1, 2]})
    search(plan(trials=1), tmp_path / "r", data={"images": 10, "sum": (1, 2)})
    with pytest.raises(RunError, match=r"data changed .*images: 10, now 11"):
        search(plan(trials=1), tmp_path / "r", data={"images": 11, "sum": [1, 2]})


def test_whether_a_search_is_new_can_be_insisted_on(tmp_path):
    with pytest.raises(RunError, match="no search to go on with"):
        search(plan(), tmp_path / "r", resume="must")
    search(plan(trials=1), tmp_path / "r", resume="never")
    search(plan(trials=2), tmp_path / "r", resume="must")
    with pytest.raises(RunError, match="holds a search already"):
        search(plan(trials=2), tmp_path / "r", resume="never")


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"not empty.*thesis\.txt"):
        search(plan(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_a_crash_left_before_its_manifest_is_taken(tmp_path):
    Ledger(tmp_path / "r").close()
    (tmp_path / "r/search.yaml").write_text("torn")
    (tmp_path / "r/.search.yaml.4711").write_text("tor")
    assert search(plan(trials=1), tmp_path / "r").exit_code == 0


def test_when_the_time_is_over_running_trials_end_at_their_next_report(tmp_path):
    made = plan({"pause": 0.05}, trials=500, time=0.5, pruner=NoPruner())
    summary = search(made, tmp_path / "r")
    assert summary.ending == "time" and summary.run.state == "finished"
    assert states(tmp_path / "r")[-1] == "time" or set(states(tmp_path / "r")) == {"finished"}
    assert all(
        t.outcome.state == "pruned" for t in summary.run.trials if t.outcome.reason == "time"
    )
    asked = len(summary.run.trials)
    assert search(made, tmp_path / "r").ending == "time"
    assert len(open_run(tmp_path / "r").trials) == asked, "the clock goes on, it does not restart"
    longer = search(
        plan({"pause": 0.05}, trials=asked + 1, time="1h", pruner=NoPruner()), tmp_path / "r"
    )
    assert longer.ending == "trials" and len(longer.run.trials) == asked + 1


@pytest.mark.parametrize(
    ("limit", "ending"),
    [
        ({"gradients": 10 * STRIDE}, "gradients"),
        (
            {"gpu_hours": 1.0 / 3600, "gpus_per_trial": 1.0},
            "gpu_hours",
        ),  # trials say 0.1 s a report
    ],
)
def test_when_a_budget_is_spent_running_trials_end_and_none_is_asked(tmp_path, limit, ending):
    summary = search(plan(trials=50, pruner=NoPruner(), **limit), tmp_path / "r")
    assert (summary.ending, summary.run.state, summary.exit_code) == (ending, "finished", 0)
    assert states(tmp_path / "r") == ["finished", "finished", ending], "ten reports of four each"
    again = search(plan(trials=50, pruner=NoPruner(), **limit), tmp_path / "r")
    assert again.ending == ending and len(again.run.trials) == 3
    more = search(plan(trials=4, pruner=NoPruner(), **{**limit, ending: 10**6}), tmp_path / "r")
    assert more.ending == "trials" and states(tmp_path / "r")[3] == "finished"


def test_a_trial_cut_short_by_time_counts_as_pruned_not_as_finished(tmp_path):
    made = plan({"pause": 0.2}, trials=1, time=0.1)
    summary = search(made, tmp_path / "r")
    (trial,) = summary.run.trials
    assert (trial.outcome.state, trial.outcome.reason, len(trial.curve)) == ("pruned", "time", 1)
    assert summary.exit_code == 3 and not summary.run.best()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_sitting_at_the_next_report_and_the_search_goes_on_later(
    tmp_path, number, code
):
    tree = {"snapshots": True, "account": str(tmp_path / "account")}
    handlers = signal.getsignal(number)
    closed = []
    stop = Tell(lambda name, n, *rest: os.kill(os.getpid(), number)
                if name == "reported" and n == 1 and rest[0].step == 2 * STRIDE else
                closed.append(rest[0]) if name == "closed" else None)  # fmt: skip
    summary = search(plan(tree, trials=3, pruner=NoPruner()), tmp_path / "r", stop)
    assert (summary.ending, summary.exit_code, closed) == ("interrupted", code, [True])
    assert summary.interrupted and summary.run.state == "stopped"
    assert states(tmp_path / "r") == ["finished", None]
    assert signal.getsignal(number) is handlers
    summary = search(plan(tree, trials=3, pruner=NoPruner()), tmp_path / "r")
    assert (summary.ending, summary.exit_code) == ("trials", 0)
    assert [what for _, what, _, _ in lines(tmp_path / "account")].count("well") == 3 * 4
    assert [len(t.curve) for t in summary.run.trials] == [4, 4, 4]


def test_a_second_signal_ends_at_once(tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    summary = search(plan(trials=3), tmp_path / "r", on("started", 1, twice))
    assert (summary.ending, summary.exit_code) == ("interrupted", 130)
    assert states(tmp_path / "r")[1:] == [None] and not open_run(tmp_path / "r").trials[1].reports()
    assert search(plan(trials=3), tmp_path / "r").ending == "trials"


def test_a_signal_that_was_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hang_up = on("started", 0, lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert search(plan(trials=1), tmp_path / "r", hang_up).ending == "trials"
    finally:
        signal.signal(signal.SIGHUP, before)


class Crash(BaseException):
    """The power goes off."""


@pytest.mark.parametrize("end", [{}, {"name": "nan"}, {"name": "well"}])
def test_a_trial_that_was_over_when_the_driver_died_is_not_run_again(tmp_path, monkeypatch, end):
    tree = {"account": str(tmp_path / "account"), "end": {"name": "well", **end}}

    def crash(*_):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "done", crash)
        with pytest.raises(Crash):
            search(plan(tree, trials=1), tmp_path / "r")
    ran = lines(tmp_path / "account")
    summary = search(plan(tree, trials=1), tmp_path / "r")
    assert summary.ending == "trials" and lines(tmp_path / "account") == ran
    expected = "non_finite" if end.get("name") == "nan" else "finished"
    assert states(tmp_path / "r") == [expected]


def test_a_trial_that_was_to_be_pruned_when_the_driver_died_is_pruned(tmp_path, monkeypatch):
    whole = search(plan(trials=12), tmp_path / "whole").run
    first = next(t.number for t in whole.trials if t.outcome.reason == "pruner")
    done = Ledger.done

    def crash(self, info, *rest):
        if info.number == first:
            raise Crash
        done(self, info, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "done", crash)
        with pytest.raises(Crash):
            search(plan(trials=12), tmp_path / "r")
    run = search(plan(trials=12), tmp_path / "r").run
    assert [t.outcome for t in run.trials] == [t.outcome for t in whole.trials]
    assert [t.info for t in run.trials] == [t.info for t in whole.trials]


def test_an_ask_that_was_not_written_down_did_not_happen(tmp_path, monkeypatch):
    asked = Ledger.asked

    def crash(self, info, *rest):
        if info.number == 2:
            raise Crash
        return asked(self, info, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "asked", crash)
        with pytest.raises(Crash):
            search(plan(trials=4), tmp_path / "r")
    run = search(plan(trials=4), tmp_path / "r").run
    whole = search(plan(trials=4), tmp_path / "whole").run
    assert [t.info for t in run.trials] == [t.info for t in whole.trials]


def test_an_observer_that_fails_is_left_out_and_the_search_goes_on(tmp_path, caplog):
    calls, others = [], []

    def fail():
        calls.append(1)
        raise ValueError("no ink")

    other = on("ended", 2, lambda: others.append(1))
    summary = search(plan(trials=3), tmp_path / "r", on("started", 1, fail), other)
    assert summary.ending == "trials" and (len(calls), len(others)) == (1, 1)
    assert "left out" in caplog.text and "no ink" in caplog.text


def test_a_search_in_which_all_fails_alike_gives_up(tmp_path):
    ends = {"end": {"name": "raise", "at": 1}}
    summary = search(plan(ends, trials=50), tmp_path / "r")
    assert (summary.ending, summary.exit_code) == ("failing", 3)
    assert states(tmp_path / "r") == ["user"] * 5
    assert "planted fault" in summary.run.trials[0].outcome.error
    assert open_run(tmp_path / "r").state == "stopped"


def test_a_search_in_which_something_works_does_not_give_up(tmp_path):
    ends = {"end": {"choice": [{"name": "raise"}, {"name": "memory", "at": 1}, {"name": "well"}]}}
    assert search(plan(ends, trials=30), tmp_path / "r").ending == "trials"


def test_trials_are_called_after_what_they_are_made_of():
    vae, gan = {"name": "vae"}, {"name": "gan"}
    assert (
        trial_name(7, {"models": [vae], "algorithms": [{"name": "reptile"}]}) == "0007-vae-reptile"
    )
    assert trial_name(12345, {"models": [vae, gan, vae]}) == "12345-vae+gan"
    assert trial_name(1, {"models": [{"name": "../../x"}]}) == "0001-______x"
    assert trial_name(0, {}) == "0000"


FILE = """
search: {name: small, trials: 3, seed: 4, max_concurrent: 2}
trial:
  tasks: {name: glyphs}
  models: [{name: vae, latent: {choice: [8, 16]}}]
  algorithms: [{name: reptile}]
  strategy: {tasks: random}
  score: mmd
"""


def test_a_plan_comes_from_a_search_file_and_goes_back_to_one(tmp_path):
    file = SearchFile.from_yaml(FILE)
    made = Plan.of(file)
    info = made.info(tmp_path)
    assert (info.name, info.trials, info.score, info.direction) == ("small", 3, "mmd", "minimize")
    assert [draw.path for draw in info.draws] == ["models[0].latent"]
    assert SearchFile.from_yaml(space.dump(made.tree())) == file
    filled = made.fill({**file.space, "models": [{"name": "vae", "latent": 8}]})
    assert filled["budget"]["reports"] == made.reports and filled["models"][0]["latent"] == 8
