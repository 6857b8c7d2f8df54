"""What every backend does alike: run, judge, record, survive."""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from metasearch.errors import EnvironmentFault, RunError
from metasearch.observe.base import Outcome, SearchInfo, TrialInfo
from metasearch.search.advisors import TPE
from metasearch.search.backend import Resources
from metasearch.search.ledger import open_run, read_records
from metasearch.search.racing import Racing
from metasearch.search.ray_backend import RayBackend
from metasearch.search.run import Plan, Summary, make_backend, run_search
from metasearch.search.stopping import Median, NoPruner
from metasearch.search.worker import whole_checkpoints
from metasearch.trial.report import Report
from tests.search.driver import launch, lines, listening, wait_until
from tests.search.plans import plan
from tests.search.planted import STRIDE, TRIAL


@pytest.fixture(scope="module")
def own_ray() -> Iterator[str]:
    """One Ray for all tests of this file; its address."""
    import ray

    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    del os.environ["RAY_AUTH_TOKEN"]


KINDS = ["local", pytest.param("ray", marks=pytest.mark.ray)]


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    if request.param == "ray":
        request.getfixturevalue("own_ray")
    return str(request.param)


def search(made: Plan, folder: Path, **how: Any) -> Summary:
    return run_search(made, folder, trial=TRIAL, **how)


def journal(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The study as optuna-dashboard would read it."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name="planted", storage=storage).trials


class Watch:
    """Sees everything, and keeps it."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.refusals: list[str] = []

    def opened(self, search: SearchInfo, past: Any) -> None:
        self.folder = search.folder
        self.seen.append(("opened", search.name, len(past)))

    def started(self, trial: TrialInfo) -> None:
        self.seen.append(("started", trial.number))
        if trial.number == 5:
            with pytest.raises(RunError) as refusal:
                search(plan(trials=1), self.folder)
            self.refusals.append(str(refusal.value))

    def reported(self, trial: TrialInfo, report: Report) -> None:
        assert report.samples is not None and report.samples.after.shape == (1, 1, 2, 2, 1)
        assert int(report.samples.after[0, 0, 0, 0, 0]) * STRIDE == report.step
        self.seen.append(("reported", trial.number, report.step))

    def set_aside(self, trial: TrialInfo) -> None:
        self.seen.append(("set_aside", trial.number))

    def ended(self, trial: TrialInfo, outcome: Outcome) -> None:
        self.seen.append(("ended", trial.number, outcome.state))

    def closed(self, interrupted: bool) -> None:
        self.seen.append(("closed", interrupted))


@dataclass(frozen=True)
class Whole:
    """A search that ran to its end: two at a time, trials of every kind."""

    kind: str
    summary: Summary
    watch: Watch
    account: Path


ENDS = {
    "end": {
        "choice": [
            {"name": "well"},
            {"name": "nan"},
            {"name": "raise", "at": 3},
            {"name": "memory", "at": 1},
            {"name": "mute", "at": 2},
        ]
    },
    "pictures": True,
}


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory) -> Whole:
    """What the tests below look at."""
    if request.param == "ray":
        request.getfixturevalue("own_ray")
    place, watch = tmp_path_factory.mktemp(request.param), Watch()
    made = plan(
        {**ENDS, "account": str(place / "account")}, trials=24, backend=request.param,
        max_concurrent=2, pruner=Median(startup_trials=1),
    )  # fmt: skip
    summary = search(made, place / "run", observers=[watch])
    return Whole(request.param, summary, watch, place / "account")


def test_every_trial_is_over_and_the_search_says_why_it_ended(whole):
    assert (whole.summary.ending, whole.summary.exit_code) == ("trials", 0)
    run = open_run(whole.summary.run.folder)
    assert run.state == "finished"
    assert [t.number for t in run.trials] == list(range(24))
    assert all(trial.outcome for trial in run.trials)


def test_outcomes_are_what_happened(whole):
    reasons = Counter()
    for trial in whole.summary.run.trials:
        end, out = trial.info.params["end"], trial.outcome
        reasons[out.state, out.reason] += 1
        if out.state == "failed":
            allowed = {("raise", "user"), ("memory", "out_of_memory"), ("mute", "user")}
            assert (end, out.reason) in allowed
            assert (trial.folder / "error.txt").read_text().strip() == out.error
        elif out.reason == "non_finite":
            assert (end, out.state, out.score) == ("nan", "pruned", None)
        else:
            assert (out.state, out.reason) in {("complete", "finished"), ("pruned", "pruner")}
    assert len(reasons) == 5, reasons


def test_the_journal_says_what_the_ledger_says(whole):
    told = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    run = whole.summary.run
    for theirs, ours in zip(journal(run.folder), run.trials, strict=True):
        assert told[theirs.state] == ours.outcome.state
        assert theirs.params == ours.info.params
        assert theirs.user_attrs["name"] == ours.info.name
        assert theirs.user_attrs["reason"] == ours.outcome.reason


def test_every_report_is_kept_the_one_that_stopped_the_trial_too(whole):
    run = whole.summary.run
    for trial, frozen in zip(run.trials, journal(run.folder), strict=True):
        kept = [(r.step, r.score) for r in trial.reports()]
        assert [step for step, _ in kept] == [STRIDE * i for i in range(1, len(kept) + 1)]
        assert repr(list(trial.curve)) == repr(kept), "NaN equals NaN here"
        told = [frozen.intermediate_values[i] for i in range(1, len(kept) + 1)]
        assert repr(told) == repr([score for _, score in kept])
        assert len(frozen.intermediate_values) == len(kept)
        if trial.outcome.reason == "non_finite":
            assert len(kept) == 2 and math.isnan(kept[-1][1])
        if trial.outcome.state != "failed":
            assert trial.outcome.step == kept[-1][0]


def test_observers_see_each_event_once_and_in_order(whole):
    seen = whole.watch.seen
    assert seen[0] == ("opened", "planted", 0)
    assert seen[-1] == ("closed", False)
    for trial in whole.summary.run.trials:
        n = trial.number
        steps = [("reported", n, step) for step, _ in trial.curve]
        mine = [event for event in seen[1:-1] if event[1] == n]
        assert mine == [("started", n), *steps, ("ended", n, trial.outcome.state)]


def test_trials_share_workers_and_no_more_run_at_once_than_may(whole):
    starved = {
        t.info.params["x"] for t in whole.summary.run.trials if t.info.params["end"] == "memory"
    }
    pids = {pid for x, _, _, pid in lines(whole.account) if x not in starved}
    assert len(pids) <= (2 if whole.kind == "ray" else 1)


def test_a_second_driver_on_the_same_folder_is_refused(whole):
    (refusal,) = whole.watch.refusals
    assert f"in use by process {os.getpid()}" in refusal


def test_the_same_seed_asks_the_same_in_every_backend_with_one_slot(kind, tmp_path):
    def asked(folder: Path, backend: str, seed: int) -> list[Any]:
        made = plan(
            {"end": {"choice": ["well", {"name": "nan", "at": {"integers": [1, 3]}}]}, "reports": 3},
            trials=10, backend=backend, max_concurrent=1, seed=seed, sampler=TPE(startup_trials=3),
        )  # fmt: skip
        search(made, folder)
        return [t.info.params for t in open_run(folder).trials]

    first = asked(tmp_path / "a", kind, seed=1)
    assert asked(tmp_path / "b", "local", seed=1) == first
    if kind == "local":
        assert asked(tmp_path / "c", "local", seed=2) != first


def test_relative_paths_start_where_the_search_was_started(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = plan({"account": "account", "snapshots": True}, trials=1, backend=kind, max_concurrent=1)
    search(made, Path("run"))
    assert len(lines(tmp_path / "account")) == 5
    assert whole_checkpoints(open_run(tmp_path / "run").trials[0].folder)


def check_after_kills(folder: Path, account: Path, trials: int) -> None:
    """Every trial ended once, none ran again after its end, and nothing is left open."""
    run = open_run(folder)
    assert run.state == "finished"
    assert [t.number for t in run.trials] == list(range(trials))
    assert all(t.outcome and t.outcome.state == "complete" for t in run.trials)
    for trial in run.trials:
        assert [step for step, _ in trial.curve] == [STRIDE * i for i in (1, 2, 3, 4)]
    told = journal(folder)
    assert [t.state for t in told] == [TrialState.COMPLETE] * trials
    assert [list(t.intermediate_values) for t in told] == [[1, 2, 3, 4]] * trials
    finals = Counter(x for x, _, made, _ in lines(account) if made == 4)
    assert set(finals) == {t.info.params["x"] for t in run.trials}


def test_who_was_set_aside_goes_on_from_its_checkpoint_and_nothing_runs_twice(kind, tmp_path):
    account, watch = tmp_path / "account", Watch()
    made = plan(
        {"account": str(account), "snapshots": True, "pictures": True, "tasks": 40}, trials=12,
        backend=kind, max_concurrent=2, pruner=NoPruner(), race=Racing(starters=3),
    )  # fmt: skip
    run = search(made, tmp_path / "run", observers=[watch]).run
    aside = [number for what, number, *_ in watch.seen if what == "set_aside"]
    later = {t.number: t for t in run.trials if t.number in aside and len(t.said()) > 1}
    assert later and run.count("complete") and run.count("pruned"), "some of each"
    steps = Counter((x, made) for x, what, made, _ in lines(account) if what == "well")
    assert set(steps.values()) == {1}, "each report once"
    for trial in run.trials:
        said = trial.said()
        assert [r.step for r in said] == [STRIDE * made for made in range(1, len(said) + 1)]
        assert trial.curve == tuple((r.step, r.score) for r in said if r.whole)
    assert all(t.state.is_finished() for t in journal(tmp_path / "run"))


def test_a_killed_search_goes_on_as_if_it_had_not_been(kind, tmp_path, request):
    folder, account = tmp_path / "run", tmp_path / "account"
    inert = {
        "choice": [
            {"name": "a", "u": {"uniform": [0, 1]}},
            {"name": "b", "n": {"integers": [1, 9]}},
        ]
    }
    space = {"account": str(account), "pause": 0.02, "snapshots": True, "inert": inert}
    tpe = {"name": "tpe", "startup_trials": 3}
    how: dict[str, Any] = {"trials": 8, "backend": kind, "max_concurrent": 1}
    if kind == "ray":
        how["address"] = request.getfixturevalue("own_ray")
    for moment in (3, 12, 21, 26) if kind == "local" else (9,):
        process = launch(folder, space, sampler=dict(tpe), **how)
        wait_until(lambda moment=moment: len(lines(account)) >= moment, process)
        before = {t.number: t for t in read_records(folder) if t.outcome}
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left = open_run(folder)
        assert left.state == "stopped"
        assert {n: left.trials[n] for n in before} == before
    how.pop("address", None)
    made = plan(space, sampler=TPE(startup_trials=3), pruner=NoPruner(), **how)
    summary = search(made, folder, resume="must")
    assert summary.ending == "trials"
    check_after_kills(folder, account, 8)

    whole = plan(
        space, sampler=TPE(startup_trials=3), pruner=NoPruner(), **{**how, "backend": "local"}
    )
    search(whole, tmp_path / "whole")
    assert [t.info.params for t in open_run(tmp_path / "whole").trials] == [
        t.info.params for t in open_run(folder).trials
    ]


def test_what_the_desk_raises_comes_through(kind, tmp_path):
    folder = tmp_path / "run"

    class Thief:
        def opened(self, search: Any, past: Any) -> None: ...
        def started(self, trial: Any) -> None:
            lease = folder / "ledger" / "lease.json"
            lease.write_text(json.dumps({**json.loads(lease.read_text()), "fence": 99}))

        def reported(self, trial: Any, report: Any) -> None: ...
        def set_aside(self, trial: Any) -> None: ...
        def ended(self, trial: Any, outcome: Any) -> None: ...
        def closed(self, interrupted: bool) -> None: ...

    with pytest.raises(RunError, match="taken over"):
        search(plan(trials=2, backend=kind, max_concurrent=1), folder, observers=[Thief()])


def test_a_stuck_trial_is_ended_and_the_others_are_not(kind, tmp_path):
    ends = {"end": {"choice": [{"name": "hang", "at": 2}, {"name": "well"}]}}
    made = plan(
        ends, trials=6, backend=kind, max_concurrent=2, no_progress_timeout=2.0, pruner=NoPruner(),
        seed=1,
    )  # fmt: skip
    run = search(made, tmp_path / "run").run
    got = {(t.info.params["end"], t.outcome.state, t.outcome.reason) for t in run.trials}
    assert got == {("hang", "failed", "timeout"), ("well", "complete", "finished")}
    stuck_s = []
    for trial in run.trials:
        if trial.outcome.reason == "timeout":
            reported_at = (trial.folder / "reports.jsonl").stat().st_mtime
            stuck_s.append(trial.done_at - reported_at)
            assert "planted.py" in trial.outcome.error and len(trial.curve) == 1
            assert "no report within" in trial.outcome.error.splitlines()[-1]
    print(f"{kind}: {len(stuck_s)} stuck trials, may be silent for 2 s: ended after {[round(s, 1) for s in stuck_s]} s")  # noqa: T201 # fmt: skip
    assert TrialState.RUNNING not in {t.state for t in journal(tmp_path / "run")}


@pytest.mark.ray
def test_what_ran_out_of_memory_is_tried_once_more_with_more_room(own_ray, tmp_path):
    account = tmp_path / "account"
    ends = {
        "end": {
            "choice": [
                {"name": "memory", "at": 3, "once": True},
                {"name": "memory", "at": 2, "label": "always"},
                {"name": "well"},
            ]
        },
        "snapshots": True,
        "account": str(account),
    }
    made = plan(ends, trials=7, backend="ray", max_concurrent=2, pruner=NoPruner(), seed=3)
    run = search(made, tmp_path / "run").run
    got = {(t.info.params["end"], t.outcome.state, t.outcome.reason) for t in run.trials}
    assert got == {
        ("memory", "complete", "finished"),
        ("always", "failed", "out_of_memory"),
        ("well", "complete", "finished"),
    }
    attempts = Counter(x for x, what, _, _ in lines(account) if what == "began")
    for trial in run.trials:
        assert attempts[trial.info.params["x"]] == (1 if trial.info.params["end"] == "well" else 2)
        assert [step for step, _ in trial.curve] == sorted({step for step, _ in trial.curve})
    print("out of memory: once more with more room, then told as out_of_memory")  # noqa: T201


@pytest.mark.ray
def test_a_dead_worker_costs_a_trial_nothing_but_time_until_its_retries_are_spent(
    own_ray, tmp_path
):
    account = tmp_path / "account"
    ends = {
        "end": {
            "choice": [
                {"name": "die", "at": 3, "once": True},
                {"name": "die", "at": 2, "label": "dies"},
                {"name": "well"},
            ]
        },
        "snapshots": True,
        "account": str(account),
    }
    made = plan(
        ends, trials=7, backend="ray", max_concurrent=2, retries=1, pruner=NoPruner(), seed=3
    )
    search(made, tmp_path / "run")
    run = open_run(tmp_path / "run")
    got = {(t.info.params["end"], t.outcome.state, t.outcome.reason) for t in run.trials}
    assert got == {
        ("die", "complete", "finished"),
        ("dies", "failed", "infrastructure"),
        ("well", "complete", "finished"),
    }
    for trial in run.trials:
        mine = [(what, n) for x, what, n, _ in lines(account) if x == trial.info.params["x"]]
        if trial.info.params["end"] == "die":
            assert mine == [("began", 0), ("well", 1), ("well", 2), ("die", 3),
                            ("began", 2), ("die", 3), ("well", 4)]  # fmt: skip
        if trial.info.params["end"] == "dies":
            assert mine == [("began", 0), ("well", 1), ("die", 2), ("began", 1), ("die", 2)]
            assert "died" in trial.outcome.error
    assert TrialState.RUNNING not in {t.state for t in journal(tmp_path / "run")}


@pytest.mark.ray
def test_fractions_of_gpus_are_shared_and_too_much_is_refused(own_ray, tmp_path):
    how: dict[str, Any] = {"backend": "ray", "trials": 1}
    for gpus, cpus, slots in ((0.5, 1, 4), (1.0, 1, 2), (0.4, 1, 4), (0.0, 3, 1)):
        made = plan(gpus_per_trial=gpus, cpus_per_trial=cpus, **how)
        with make_backend(made.search, tmp_path, TRIAL) as backend:
            assert backend.slots == slots
    with pytest.raises(EnvironmentFault, match="needs 1 CPUs and 4 GPUs; there are 4 CPUs and 2"):
        search(plan(gpus_per_trial=4.0, **how), tmp_path / "run")
    summary = search(plan(gpus_per_trial=0.5, **how), tmp_path / "run")
    assert summary.run.count("complete") == 1
    print("2 fake cards: 4 trials at 0.5 each, 2 at 1.0; 4 cards for one trial refused at start")  # noqa: T201


@pytest.mark.ray
def test_auto_packs_as_many_trials_on_a_gpu_as_were_measured_to_fit(own_ray, tmp_path):
    account = tmp_path / "account"
    tree = {"takes": {"uniform": [1.0, 6.0]}, "account": str(account), "together": 4}
    made = plan(tree, pruner=NoPruner(), gpus_per_trial="auto", backend="ray", trials=4)
    need = Resources(gpus_per_trial="auto")
    backend = RayBackend(TRIAL, need, tmp_path / "run" / ".ray", probe="tests.search.planted:card")
    assert search(made, tmp_path / "run", backend=backend).run.count("complete") == 4
    assert backend.slots == 4, "of 16 GiB, two take 6 each: four share two cards"
    assert len({pid for *_, pid in lines(account)}) == 4
    print("gpus_per_trial auto: 4 trials in 4 processes share 2 fake cards")  # noqa: T201
    manifest = open_run(tmp_path / "run").manifest
    assert manifest["search"]["gpus"] == 0.5 == manifest["gpus_per_trial"]["gpus"]
    assert [card["name"] for card in manifest["gpus_per_trial"]["cards"]] == ["planted"]
    search_file = (tmp_path / "run" / "search.yaml").read_text()
    assert "gpus_per_trial: auto" in search_file, "another machine measures again"


@pytest.mark.ray
def test_a_recipe_that_no_card_can_hold_is_refused_before_any_trial(own_ray, tmp_path):
    made = plan({"takes": 17.0}, gpus_per_trial="auto", backend="ray", trials=1)
    need = Resources(gpus_per_trial="auto")
    backend = RayBackend(TRIAL, need, tmp_path / "run" / ".ray", probe="tests.search.planted:card")
    with pytest.raises(EnvironmentFault, match=r"does not fit into planted with 16\.0 GiB") as told:
        search(made, tmp_path / "run", backend=backend)
    assert "\n" not in str(told.value) and not read_records(tmp_path / "run")


def test_a_trial_says_where_it_ran(kind, tmp_path):
    search(plan(trials=1, backend=kind), tmp_path / "run")
    (trial,) = open_run(tmp_path / "run").trials
    assert trial.ran_on() == [socket.gethostname()]


@pytest.mark.ray
def test_a_ray_of_its_own_is_silent_off_the_network_and_leaves_on_ctrl_c(tmp_path):
    account = tmp_path / "account"
    tree = {"account": str(account), "pause": 0.3, "snapshots": True}
    process = launch(tmp_path / "run", tree, trials=9, backend="ray", max_concurrent=2)
    wait_until(lambda: len(lines(account)) >= 4, process)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert listening(process.pid) <= loopback and listening(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate() == ("interrupted", "")
    assert process.returncode == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["account", "run"], (
        "no token at home"
    )
    run = open_run(tmp_path / "run")
    assert run.state == "stopped" and {t.outcome for t in run.trials} == {None}
    assert all(whole_checkpoints(trial.folder) for trial in run.trials)


@pytest.mark.ray
def test_a_search_that_joined_a_ray_ends_on_sigterm_and_goes_on_later(own_ray, tmp_path):
    account = tmp_path / "account"
    how: dict[str, Any] = {"trials": 4, "backend": "ray", "max_concurrent": 2}
    tree = {"account": str(account), "pause": 0.1, "snapshots": True}
    process = launch(tmp_path / "run", tree, address=own_ray, **how)
    wait_until(lambda: len(lines(account)) >= 3, process)
    process.terminate()
    assert process.communicate() == ("interrupted", "")
    assert process.returncode == 143
    made = plan(tree, pruner=NoPruner(), **how)
    assert search(made, tmp_path / "run").ending == "trials"
    check_after_kills(tmp_path / "run", account, 4)
