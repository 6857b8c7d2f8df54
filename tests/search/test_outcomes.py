"""What became of each trial, in the ledger and in Optuna's journal, under every pruner.

An account that the trials keep themselves says what happened; ledger and journal have to agree.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from metasearch.search.advisors import (
    PRUNERS,
    Hyperband,
    Median,
    Patient,
    Percentile,
    RandomSearch,
    SuccessiveHalving,
    Threshold,
    Wilcoxon,
)
from metasearch.search.backend import Resources
from metasearch.search.ledger import open_run
from metasearch.search.ray_backend import RayBackend
from metasearch.search.run import run_search
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


class PowerCut(Exception):
    """The driver is gone."""


class Hands:
    """Carries orders and messages by hand, for several trials in turn.

    Every so many messages a worker dies, and its trial says all it had said again; after `cut`
    messages the driver does.
    """

    in_process = True

    def __init__(self, slots: int, cut: int) -> None:
        self._slots = slots
        self._cut = cut

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
                elif desk.heard(number, message):
                    del live[number]


def expected(account: Path) -> Counter[TrialState]:
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


def check(folder: Path, account: Path, pruner: str) -> None:
    run, told = open_run(folder), journal(folder)
    assert Counter(trial.state for trial in told) == expected(account)
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
    cuts = 0
    for cut in (9, 20, 25, 10**6):
        try:
            run_search(searched(pruner, account), tmp_path / "r", backend=Hands(slots, cut))
        except PowerCut:
            cuts += 1
    assert cuts == 3
    check(tmp_path / "r", account, pruner)


@pytest.mark.ray
def test_outcomes_are_what_happened_on_ray(tmp_path):
    account = tmp_path / "account"
    backend = RayBackend(TRIAL, Resources(max_concurrent=4), tmp_path / "ray")
    run_search(searched("successive_halving", account), tmp_path / "r", backend=backend)
    check(tmp_path / "r", account, "successive_halving")
