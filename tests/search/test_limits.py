"""A limit ends a search, not its trials: raised later, they go on where they were."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from metasearch.observe.base import Outcome
from metasearch.search import notice
from metasearch.search.ledger import open_run
from metasearch.search.limits import cut_short
from metasearch.search.racing import Racing
from metasearch.search.run import Summary, run_search
from metasearch.search.share import Share
from metasearch.search.stopping import NoPruner
from tests.search.driver import lines
from tests.search.plans import plan
from tests.search.planted import STRIDE, TRIAL
from tests.search.test_outcomes import Hands, PowerCut, journal

LIMITS = {
    "gradients": ({"gradients": 13 * STRIDE}, {"gradients": 10**6}),
    "gpu_hours": (  # trials say 0.1 s a report
        {"gpu_hours": 1.3 / 3600, "gpus_per_trial": 1.0},
        {"gpu_hours": 9.0, "gpus_per_trial": 1.0},
    ),
}


def raced(folder: Path, **search: Any) -> Summary:
    tree = {"tasks": 40, "snapshots": True, "account": str(folder.with_suffix(".account"))}
    racing = plan(tree, trials=10, pruner=NoPruner(), race=Racing(), **search)
    return run_search(racing, folder, trial=TRIAL)


def lives(folder: Path) -> list[str]:
    """What became of the trials, in the journal."""
    return [trial.state.name for trial in journal(folder)]


@pytest.mark.parametrize("limit", LIMITS)
def test_trials_that_a_limit_ended_go_on_once_it_is_raised_as_if_it_had_not_been(tmp_path, limit):
    low, high = LIMITS[limit]
    whole = raced(tmp_path / "whole").run
    ended = raced(tmp_path / "r", **low)
    cut = [t.number for t in ended.run.trials if cut_short(t.outcome)]
    assert (ended.ending, ended.run.state) == (limit, "finished")
    assert len(cut) > 3 and all(ended.run.trials[n].outcome.reason == limit for n in cut)
    assert set(lives(tmp_path / "r")) <= {"COMPLETE", "PRUNED"}, "no leftovers"
    again = raced(tmp_path / "r", **low)
    assert again.ending == limit and again.run.trials == ended.run.trials, "it is not raised"
    more = raced(tmp_path / "r", **high)
    assert (more.ending, more.run.state) == ("trials", "finished")
    assert [t.info.params for t in more.run.trials] == [t.info.params for t in whole.trials]
    assert [t.outcome for t in more.run.trials] == [t.outcome for t in whole.trials]
    assert set(lives(tmp_path / "r")) <= {"COMPLETE", "PRUNED"}
    told = lines(tmp_path / "r.account")
    made = [(x, n) for x, what, n, _ in told if what == "well"]
    assert len(made) == len(set(made)), "what was reported is not trained again"


def turns(folder: Path, cut: int | None) -> list[tuple[int, int]]:
    """Whose report came when, in a race that a limit may have cut after so many."""
    carried: list[Any] = []
    tree = {"tasks": 40, "snapshots": True}
    for limit in (cut * STRIDE if cut else None, None):
        race = Racing(starters=2)
        racing = plan(tree, trials=10, pruner=NoPruner(), race=race, gradients=limit)
        run_search(racing, folder, backend=Hands(1, 10**6, carried))
    return list(dict.fromkeys((number, told["report"]["step"]) for number, told, _ in carried))


def test_who_was_to_wait_after_the_report_that_reached_a_limit_waits_once_it_is_raised(tmp_path):
    whole = turns(tmp_path / "whole", None)
    for cut in range(1, 20, 2):
        assert turns(tmp_path / f"cut-{cut}", cut) == whole, cut


def test_a_limit_that_was_not_raised_takes_nothing_back(tmp_path):
    """A share of a card that was measured stays known, and what an open trial spent counts."""
    low = {"gpu_hours": 0.65 / 3600, "gpus_per_trial": "auto"}
    carried: list[Any] = []

    class Card(Hands):
        def settle(self, recipes: Any) -> Share:
            return Share(0.5)

    def typed() -> Summary:
        made = plan({"snapshots": True}, trials=8, pruner=NoPruner(), **low)
        return run_search(made, tmp_path / "r", backend=Card(2, 10**6, carried), trial=TRIAL)

    first = typed()
    heard, ends = len(carried), {t.number: t.done_at for t in first.run.trials}
    assert first.ending == "gpu_hours" and first.run.state == "finished"
    for _ in range(3):
        again = typed()
        assert again.ending == "gpu_hours" and again.run.trials == first.run.trials
        assert again.run.info.gpus == 0.5
    cut = next(t.number for t in first.run.trials if cut_short(t.outcome))
    (tmp_path / "r" / "ledger" / f"{cut:04d}.done.json").unlink()  # as if it was killed before
    last = typed()
    assert last.ending == "gpu_hours" and len(carried) == heard
    assert [t.number for t in last.run.trials if t.done_at != ends[t.number]] == [cut]


def test_a_trial_that_no_worker_took_before_the_limit_ends_unheard_and_is_run_once_it_is_raised(
    tmp_path,
):
    made = plan({"snapshots": True}, trials=2, pruner=NoPruner())
    with contextlib.suppress(PowerCut):
        run_search(made, tmp_path / "r", backend=Hands(2, 3, []))
    assert [t.outcome for t in open_run(tmp_path / "r").trials] == [None, None]
    with_limit = plan({"snapshots": True}, trials=2, pruner=NoPruner(), time=1e-6)
    ended = run_search(with_limit, tmp_path / "r", trial="nobody:trains")
    assert ended.ending == "time" and ended.exit_code == 3
    assert [t.outcome.reason for t in ended.run.trials] == ["time", "time"]
    more = run_search(made, tmp_path / "r", trial=TRIAL)
    assert [t.outcome.reason for t in more.run.trials] == ["finished", "finished"]


def test_when_the_time_is_long_over_a_trial_stops_between_two_reports(tmp_path, monkeypatch):
    monkeypatch.setattr(notice, "LOOK_S", 0.01)
    tree = {"pause": 2.0, "reports": 2, "snapshots": True, "account": str(tmp_path / "account")}
    made = plan(tree, trials=1, time=0.5, pruner=NoPruner())
    ended = run_search(made, tmp_path / "r", trial=TRIAL)
    (trial,) = ended.run.trials
    assert trial.outcome == Outcome("pruned", "time") and ended.run.state == "finished"
    assert [what for _, what, _, _ in lines(tmp_path / "account")] == ["began", "paused"]
    monkeypatch.undo()
    more = run_search(plan(tree, trials=1, pruner=NoPruner()), tmp_path / "r", trial=TRIAL)
    assert [len(t.curve) for t in more.run.trials] == [2] and more.exit_code == 0
