"""What became of each trial, in the ledger and in Optuna's journal, under every pruner.

What was carried to the desk says what happened; ledger and journal have to agree.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from metasearch.search.advisors import RandomSearch
from metasearch.search.backend import Resources
from metasearch.search.ledger import open_run
from metasearch.search.ray_backend import RayBackend
from metasearch.search.run import run_search
from metasearch.search.stopping import (
    PRUNERS,
    Hyperband,
    Median,
    Patient,
    Percentile,
    SuccessiveHalving,
    Threshold,
    Wilcoxon,
)
from metasearch.search.worker import TrialRunner
from tests.search.driver import lines
from tests.search.plans import plan
from tests.search.planted import STRIDE, TRIAL

REPORTS, TRIALS = 6, 24
ENDS = {"choice": [
    {"name": "well", "label": "well"}, {"name": "well", "label": "also well"},
    {"name": "well", "label": "well again"}, {"name": "nan", "at": 3}, {"name": "raise", "at": 3},
]}  # fmt: skip
SET = {
    "median": Median(startup_trials=2), "percentile": Percentile(keep=50.0, startup_trials=2),
    "successive_halving": SuccessiveHalving(reduction=2), "hyperband": Hyperband(reduction=2),
    "threshold": Threshold(upper=1.6), "patient": Patient(patience=1, inner=Percentile(keep=50.0, startup_trials=1)),
    "wilcoxon": Wilcoxon(startup_reports=4),
}  # fmt: skip


Carried = list[tuple[int, dict[str, Any], bool]]
"""What reached a desk: the trial's number, its message, and whether that was the trial's end."""


class PowerCut(Exception):
    """The driver is gone."""


class Hands:
    """Carries orders and messages by hand, for several trials in turn.

    Every so many messages a worker dies, and its trial says all it had said again; after `cut`
    messages the driver does.
    """

    in_process = True

    def __init__(self, slots: int, cut: int, carried: Carried) -> None:
        self._slots = slots
        self._cut = cut
        self._carried = carried  # what reached a desk, by this one and those before

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is held."""

    def run(self, desk):
        live, messages = {}, 0
        while True:
            while len(live) < self._slots and (order := desk.next()) is not None:
                live[order.number] = (order, TrialRunner(TRIAL))
                live[order.number][1].start(order)
            if not live:
                return
            for number, (order, runner) in tuple(live.items()):
                message = runner.next()
                messages += 1
                if messages == self._cut:
                    raise PowerCut
                if messages % 11 == 0:
                    runner.start(order)
                    continue
                over = desk.heard(number, message)
                self._carried.append((number, message, over))
                if over:
                    del live[number]


def expected(carried: Carried) -> Counter[TrialState]:
    """How trials ended, by what they said and somebody heard."""
    ends = {}
    for number, message, _ in carried:
        if "error" in message:
            ends[number] = TrialState.FAIL
        elif math.isnan(message["report"]["score"]):
            ends[number] = TrialState.PRUNED
        else:
            final = message["report"]["final"]
            ends.setdefault(number, TrialState.PRUNED)
            ends[number] = TrialState.COMPLETE if final else ends[number]
    return Counter(ends.values())


def by_account(account: Path) -> Counter[TrialState]:
    """How trials ended, by their own account."""
    told: dict[float, list[tuple[str, int]]] = {}
    for x, what, made, _ in lines(account):
        told.setdefault(x, []).append((what, made))
    states = []
    for events in told.values():
        happened = {what for what, _ in events}
        furthest = max(made for _, made in events)
        states.append(
            TrialState.FAIL if "raise" in happened
            else TrialState.COMPLETE if furthest == REPORTS and "nan" not in happened
            else TrialState.PRUNED
        )  # fmt: skip
    return Counter(states)


def journal(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The study as any reader of Optuna's journals sees it."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name="planted", storage=storage).trials


def check(folder: Path, expected: Counter[TrialState], pruner: str) -> None:
    run, told = open_run(folder), journal(folder)
    assert Counter(trial.state for trial in told) == expected
    assert run.state == "finished" and len(told) == len(run.trials) == TRIALS
    names = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for trial, record in zip(told, run.trials, strict=True):
        assert trial.state.name == names[record.outcome.state]
        assert trial.params == record.info.params
        reports = record.reports()
        assert [r.step for r in reports] == [STRIDE * i for i in range(1, len(reports) + 1)]
        assert list(trial.intermediate_values) == list(range(1, len(reports) + 1)), "the last, too"
        if record.outcome.state == "complete":
            assert len(reports) == REPORTS and trial.value == reports[-1].score
    reasons = Counter(record.outcome.reason for record in run.trials)
    assert bool(reasons["pruner"]) == (pruner != "none"), reasons


def searched(pruner: str, account: Path):
    bend = {"choice": [2, REPORTS]}
    tree = {"account": str(account), "reports": REPORTS, "end": ENDS, "bend": bend}
    settings = SET.get(pruner) or PRUNERS[pruner]()
    return plan(tree, sampler=RandomSearch(), pruner=settings, trials=TRIALS, seed=3)


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("pruner", list(PRUNERS))
def test_outcomes_are_what_happened_with_dying_workers_and_drivers(tmp_path, pruner, slots):
    account = tmp_path / "account"
    cuts, carried = 0, []
    for cut in (9, 20, 25, 10**6):
        try:
            run_search(
                searched(pruner, account), tmp_path / "r", backend=Hands(slots, cut, carried)
            )
        except PowerCut:
            cuts += 1
    assert cuts == 3
    check(tmp_path / "r", expected(carried), pruner)
    went_on = {n: m["report"]["step"] for n, m, over in carried if not over}
    for trial in open_run(tmp_path / "r").trials:
        if trial.outcome.reason == "pruner":
            assert trial.outcome.step > went_on.get(trial.number, 0), "it was told to go on there"


@pytest.mark.ray
def test_outcomes_are_what_happened_on_ray(tmp_path):
    account = tmp_path / "account"
    backend = RayBackend(TRIAL, Resources(max_concurrent=4), tmp_path / "ray")
    run_search(searched("successive_halving", account), tmp_path / "r", backend=backend)
    check(tmp_path / "r", by_account(account), "successive_halving")
