"""What samplers and pruners see of a long search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import TrialState, create_trial

from metasearch.rng import Stream
from metasearch.search import journal, remembered
from metasearch.search.front import undominated
from metasearch.search.journal import LATEST, Journal, Storage
from metasearch.search.remembered import BEST
from metasearch.search.run import run_search
from metasearch.search.stopping import NoPruner
from tests.search.plans import plan
from tests.search.planted import TRIAL

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


def trials(n: int, *kinds: TrialState):
    """Trials with random ends, of these kinds in turn; some pruned ones diverged."""
    rng = Stream(0).at("trials").numpy()
    for i in range(n):
        state, x = kinds[i % len(kinds)], float(rng.uniform())
        steps = int(rng.integers(1, 4)) if state is TrialState.PRUNED else 4
        curve = {step: x + 1 / step for step in range(1, steps + 1)}
        if i % 7 == 0 and state is TrialState.PRUNED:
            curve[steps] = math.nan
        value = curve[4] if state is TrialState.COMPLETE else None
        yield create_trial(
            state=state, value=value, params={"x": x}, distributions=SPACE,
            intermediate_values=curve,
        )  # fmt: skip


@pytest.fixture
def make(tmp_path):
    opened = []

    def study(direction="minimize", directions=None, **how):
        opened.append(Journal(tmp_path / f"{len(opened)}"))
        storage = Storage(opened[-1], **how)
        if directions:
            return optuna.create_study(storage=storage, directions=directions)
        return optuna.create_study(storage=storage, direction=direction)

    yield study
    for file in opened:
        file.close()


def everything(study):
    """All trials, past what the storage shows."""
    return [study._storage.get_trial(number) for number in range(study._storage._created)]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    "kinds",
    [
        (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL),
        (TrialState.PRUNED,) * 99 + (TrialState.COMPLETE,),  # fewer complete ones than are good
    ],
)
def test_what_tpe_holds_for_good_is_the_same_as_among_all_trials(make, direction, kinds):
    study = make(direction)
    study.add_trials(list(trials(LATEST + 400, *kinds)))
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    whole = [trial for trial in everything(study) if trial.state in ended]
    seen = study.get_trials(states=ended)
    assert len(seen) < len(whole)
    good, found = (
        [trial.number for trial in _split_trials(study, some, default_gamma(len(some)))[0]]
        for some in (whole, seen)
    )
    assert found == good and len(good) == BEST


@pytest.mark.parametrize("order", ["as asked", "last first"])
def test_the_latest_the_best_and_the_open_are_seen_in_whatever_order_they_end(
    make, monkeypatch, order
):
    monkeypatch.setattr(journal, "LATEST", 10)
    monkeypatch.setattr(remembered, "BEST", 3)
    study = make()
    asked = [study.ask(SPACE) for _ in range(40)]
    ending = [trial for trial in asked if trial.number not in {2, 5, 39}]
    for trial in ending if order == "as asked" else ending[::-1]:
        study.tell(trial, trial.params["x"])
    best = sorted(ending, key=lambda trial: trial.params["x"])[:3]
    expected = {2, 5} | {t.number for t in best} | set(range(30, 40))
    assert [t.number for t in study.get_trials(deepcopy=False)] == sorted(expected)
    assert study.get_trials(states=(TrialState.RUNNING,))[0].number == 2
    assert study.best_trial.number == best[0].number


def test_who_is_aside_is_seen_as_stopped_and_only_if_late_or_best(make, monkeypatch):
    monkeypatch.setattr(journal, "LATEST", 10)
    monkeypatch.setattr(remembered, "BEST", 3)
    study = make()
    asked = [study.ask(SPACE) for _ in range(40)]
    for trial in asked[:30]:
        trial.report(trial.params["x"], 1)
    best = [t.number for t in sorted(asked[:30], key=lambda trial: trial.params["x"])]
    aside = frozenset(range(30)) - {best[0]}  # who runs
    study._storage.aside = aside
    seen = {t.number: t.state for t in study.get_trials(deepcopy=False)}
    assert seen == {
        **dict.fromkeys(best[1:4], TrialState.PRUNED),
        **dict.fromkeys((best[0], *range(30, 40)), TrialState.RUNNING),
    }
    asked[best[2]].report(-1.0, 2)  # it goes on
    seen = {t.number: t.state for t in study.get_trials(deepcopy=False)}
    assert seen[best[2]] is TrialState.RUNNING and best[4] in seen
    study._storage.aside = aside  # and waits again
    (again,) = (t for t in study.get_trials(deepcopy=False) if t.number == best[2])
    assert again.state is TrialState.PRUNED and len(again.intermediate_values) == 2
    study.tell(asked[best[1]], state=TrialState.PRUNED)
    study.tell(asked[best[3]], state=TrialState.FAIL)
    study._storage.aside = aside - {best[1], best[3]}
    seen = {t.number: t.state for t in study.get_trials(deepcopy=False)}
    assert seen.keys() == {best[0], best[1], best[2], best[4], *range(30, 40)}


@pytest.mark.parametrize("order", ["as asked", "last first"])
def test_of_several_objectives_the_front_of_all_is_seen(make, monkeypatch, order):
    monkeypatch.setattr(journal, "LATEST", 10)
    monkeypatch.setattr(remembered, "BEST", 3)
    study = make(directions=["minimize", "maximize"])
    asked = [study.ask(SPACE) for _ in range(60)]
    values = Stream(1).at("values").numpy().normal(size=(60, 2)).round(1)
    values[:, 1] += 2 * values[:, 0]  # what is good in one is bad in the other
    breaks, stops = {7, 8}, {2, 3, 4}
    values[[7, 8]] = -9, 9  # as good as can be, and not allowed
    for trial in asked[:50] if order == "as asked" else asked[49::-1]:
        n = trial.number
        trial.set_constraint("bound", 1.0 if n in breaks else -1.0)
        if n in stops:
            study._storage.set_trial_intermediate_value(n, 1, 0.5)
        ends = {"state": TrialState.PRUNED} if n in stops else {"values": [*values[n]]}
        study.tell(trial, **ends)
    whole = [n for n in range(50) if n not in breaks | stops]
    front = {whole[i] for i in undominated(values[whole] * [1, -1])}
    assert 3 < len(front) < 20
    assert {t.number for t in study.get_trials()} == front | set(range(50, 60))


def test_of_a_wide_front_those_that_stand_apart_are_seen(make, monkeypatch):
    monkeypatch.setattr(journal, "LATEST", 1)
    monkeypatch.setattr(remembered, "FRONT", 5)
    study = make(directions=["minimize", "minimize"])
    asked = [study.ask(SPACE) for _ in range(60)]
    for trial in asked[:59]:  # on a line: three close together, and a crowd
        x = {0: -9.0, 30: -5.0, 40: 9.0}.get(trial.number, trial.number / 100)
        study.tell(trial, [x, -x])
    numbers = {t.number for t in study.get_trials()}
    assert len(numbers) == 6 and {0, 30, 40, 59} < numbers


def test_whom_a_front_shows_hangs_on_no_order_though_values_are_equal():
    values = Stream(2).at("values").numpy().uniform(size=(400, 3)).round(1)
    values[:, 2] = 2 - values[:, 0] - values[:, 1]  # nobody beats anybody

    def shown(order: Sequence[int]) -> set[int]:
        front = remembered.Front([1, 1, 1])
        for n in order:
            front.put(int(n), (0, 0.0, 0.0), values[n])
        return set(front.numbers())

    once = shown(range(400))
    assert len(once) == remembered.FRONT
    mixed = Stream(3).at("order").numpy().permutation(400)
    assert shown(mixed) == shown(range(399, -1, -1)) == once


def test_a_short_search_is_seen_as_it_is(make):
    study = make()
    study.add_trials(list(trials(60, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)))
    assert study.trials == everything(study) and len(study.trials) == 60


def test_a_torn_line_and_a_lock_that_nobody_holds_do_not_matter(tmp_path):
    def read():
        backend = optuna.storages.journal.JournalFileBackend(str(file))
        storage = optuna.storages.JournalStorage(backend)
        return optuna.load_study(study_name="planted", storage=storage).trials

    folder, file = tmp_path / "run", tmp_path / "run" / "study.journal"
    run_search(plan(trials=2, pruner=NoPruner()), folder, trial=TRIAL)
    with file.open("a") as torn:
        torn.write('{"op_code":4,"wor')
    file.with_name("study.journal.lock").symlink_to("a process that died")
    assert len(read()) == 2
    run_search(plan(trials=4, pruner=NoPruner()), folder, trial=TRIAL)
    assert [trial.state for trial in read()] == [TrialState.COMPLETE] * 4
    assert all(line.endswith("}") for line in file.read_text().splitlines())
